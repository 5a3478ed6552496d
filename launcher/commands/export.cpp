// `vmrun export`: a spec's plan as others run it. The rule: what they cannot say is told, and the exit code says whether there is any.
#include "launcher/import/export.hpp"

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/planned.hpp"

namespace launcher::commands {

int export_spec(const Options& options) {
  const std::string to = options.value("to").value_or("");
  if (to != "libvirt" && to != "shell" && to != "systemd-run")
    throw UsageError("--to wants libvirt, shell or systemd-run");
  const std::optional<SpecFile> file = read_spec_or_print(options);
  if (!file) return problems;
  const std::optional<Planned> planned = plan_or_print(*file, options);
  if (!planned) return problems;
  const Exported made =
      to == "libvirt" ? export_libvirt(file->spec, planned->plan)
                      : export_shell(file->spec, planned->plan, to == "shell" ? Runner::shell : Runner::systemd_run);
  if (options.flag("json")) {
    print_json(report_json(made.report, made.text));
  } else {
    print(made.text);
    complain(printable_lines(to_text(made.report)));
  }
  return exit_code_of(made.report);
}

}  // namespace launcher::commands
