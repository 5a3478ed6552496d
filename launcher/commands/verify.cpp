// `vmrun verify`: what was promised beside what is in effect, a row each. The rule: read-only, in the guest, too; what cannot be read
// is no pass.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <optional>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/guest/half.hpp"
#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/text/out.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/table.hpp"
#include "topology/struct_json.hpp"

namespace launcher::commands {

namespace {

const char* mark(Outcome outcome) {
  switch (outcome) {
    case Outcome::held:
      return "held";
    case Outcome::lost:
      return "NOT HELD";
    case Outcome::not_checked:
      return "not checked";
    case Outcome::kernel_keeps:
      return "kernel keeps it";
  }
  return "?";
}

std::string text_of(const std::vector<Row>& rows) {
  TextTable table(
      {{"", false, false, 15}, {"AREA"}, {"WHAT", false, true}, {"WANTED", false, true}, {"IS", false, true}});
  for (const Row& row : rows) table.add({mark(row.outcome), row.area, row.what, row.wanted, row.is});
  std::string text = table.text(terminal_width(STDOUT_FILENO));
  for (const Row& row : rows)
    if (row.outcome == Outcome::lost)
      text += fmt::format("not held: {}: wanted {}, is {} (read from {})\n", printable(row.what), printable(row.wanted),
                          printable(row.is), printable(row.where));
  return text + fmt::format("{} held, {} not held, {} not checked, {} that the kernel keeps otherwise\n",
                            count(rows, Outcome::held), count(rows, Outcome::lost), count(rows, Outcome::not_checked),
                            count(rows, Outcome::kernel_keeps));
}

boost::json::object json_of(const VmDir& dir, const std::vector<Row>& rows) {
  boost::json::object out{{"version", 1}, {"name", dir.name()}};
  out["held"] = count(rows, Outcome::held);
  out["lost"] = count(rows, Outcome::lost);
  out["not_checked"] = count(rows, Outcome::not_checked);
  out["kernel_keeps"] = count(rows, Outcome::kernel_keeps);
  out["rows"] = topology::json::write(rows);
  return out;
}

}  // namespace

int verify(const Options& options) {
  const VmDir dir = named_vm(options);
  Subject subject = look_at_record(dir);
  auto asked = monitor_to_ask(dir, questions(subject));
  look_at_kernel(subject, Looking::thoroughly);  // meanwhile QEMU answers, which takes it as long
  const auto monitor = if_it_answers(std::move(asked), questions_of_images(subject));
  subject.monitor = monitor.get();  // without it the rows that need it say so
  if (const auto& settings = subject.plan.guest; settings && !settings->empty()) {
    GuestWord word = tell_guest(dir.path(), guest_script(dir.name(), *settings), "rows");
    subject.guest_rows = std::move(word.rows);
    subject.no_guest_rows = std::move(word.why);
  }
  const std::vector<Row> rows = prove(subject);
  if (options.flag("json"))
    print_json(json_of(dir, rows));
  else
    print(text_of(rows));
  if (count(rows, Outcome::lost) > 0) return failed;
  return count(rows, Outcome::not_checked) > 0 ? unproven : done;
}

}  // namespace launcher::commands
