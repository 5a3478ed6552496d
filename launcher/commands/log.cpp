// `vmrun log`: how a VM's runs ended, and what guest and QEMU said last. The rule: what a guest wrote is printed only through
// printable().
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <ctime>
#include <string_view>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::commands {

namespace {

std::string time_text(std::int64_t seconds) {
  return seconds == 0 ? "?" : fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(seconds)));
}

std::string quoted(const char* whose, std::string_view words) {
  if (words.empty()) return {};
  std::string text = fmt::format("  {}:\n", whose);
  while (!words.empty()) {
    const std::size_t end = words.find('\n');
    std::string_view line = words.substr(0, end);
    while (line.ends_with('\r')) line.remove_suffix(1);
    text += "    " + printable(line) + "\n";
    words.remove_prefix(end == words.npos ? words.size() : end + 1);
  }
  return text;
}

std::string text_of(const RunRecord& record, bool whole) {
  std::string text = fmt::format("{} to {}  exit code {}: {}{}\n", time_text(record.started), time_text(record.ended),
                                 record.exit_code, record.asked ? "as asked, " : "", printable(ending_of(record)));
  for (const std::string& left : record.left) text += "  left behind: " + printable(left) + "\n";
  for (const std::string& cut : record.cut.value_or(std::vector<std::string>{})) text += "  " + printable(cut) + "\n";
  if (!whole) return text;
  return text + quoted("the guest's console said last", record.console) + quoted("QEMU said last", record.qemu);
}

}  // namespace

int log(const Options& options) {
  const std::string& name = options.word(0, "a VM's name");
  const auto records = is_file_name(name)
                           ? read_records(runs_directory(state_base(host_config_or_throw(options)), name))
                           : std::vector<RunRecord>{};
  if (records.empty()) {
    named_vm(options);  // says there is none, and which there are
    throw std::runtime_error("no run of VM " + name + " is on record yet");
  }
  if (options.flag("json")) {
    boost::json::array out;
    for (const RunRecord& record : records) out.push_back(boost::json::parse(to_json(record)));
    print_json(out);
    return done;
  }
  std::string text;
  for (const RunRecord& record : records) text += text_of(record, options.flag("all") || &record == &records.back());
  print(text);
  return done;
}

}  // namespace launcher::commands
