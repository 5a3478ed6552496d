// `vmrun log`: how a VM's runs ended, and what guest and QEMU said last. The rule: what a guest wrote is printed only through
// printable().
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <ctime>
#include <ranges>
#include <string_view>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/table.hpp"

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

double ms(std::int64_t us) { return static_cast<double>(us) / 1000; }

// What a stage took in a run; -1: it had none.
std::int64_t stage_of(const RunRecord& record, const std::string& stage) {
  const auto found = std::ranges::find(*record.timings, stage, &StageTime::stage);
  return found == record.timings->end() ? -1 : found->us;
}

// In their order; one that the last run did not come to ("guest ready") behind those that it did.
std::vector<std::string> stages_of(const std::vector<RunRecord>& timed) {
  std::vector<std::string> stages;
  for (const RunRecord& record : std::views::reverse(timed))
    for (const StageTime& stage : *record.timings)
      if (std::ranges::find(stages, stage.stage) == stages.end()) stages.push_back(stage.stage);
  return stages;
}

// A stage that took half as long again as it does in the median, and a millisecond more: what a start may be slow by.
bool is_slow(std::int64_t us, std::vector<std::int64_t> all) {
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  std::ranges::nth_element(all, middle);
  return all.size() > 2 && us * 2 > *middle * 3 && us > *middle + 1000;
}

std::string timings_text(const std::vector<RunRecord>& records, unsigned width) {
  constexpr std::size_t side_by_side = 5;
  std::vector<RunRecord> timed;
  for (const RunRecord& record : records)
    if (record.timings && !record.timings->empty()) timed.push_back(record);
  if (timed.empty()) return "no run with its stages is on record yet\n";
  if (timed.size() > side_by_side) timed.erase(timed.begin(), timed.end() - side_by_side);
  std::vector<Column> columns = {{"MS", false, true}};
  for (const RunRecord& record : timed) columns.push_back({time_text(record.started).substr(5), true});
  TextTable table(columns);
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& all) {
    std::vector<std::string> cells = {name};
    for (const std::int64_t us : all)
      cells.push_back(us < 0 ? "-" : fmt::format("{:.2f}{}", ms(us), is_slow(us, all) ? " slow" : ""));
    table.add(std::move(cells));
  };
  std::vector<std::int64_t> sums(timed.size());
  for (const std::string& stage : stages_of(timed)) {
    std::vector<std::int64_t> all;
    for (std::size_t i = 0; i < timed.size(); ++i)
      sums[i] += std::max<std::int64_t>(0, all.emplace_back(stage_of(timed[i], stage)));
    add(stage, all);
  }
  add("in all", sums);
  return table.text(width);
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
  if (options.flag("timings")) {
    print(timings_text(records, terminal_width(STDOUT_FILENO)));
    return done;
  }
  std::string text;
  for (const RunRecord& record : records) text += text_of(record, options.flag("all") || &record == &records.back());
  print(text);
  return done;
}

}  // namespace launcher::commands
