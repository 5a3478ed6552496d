// boot.firmware = "uefi": two flash images, the program of the host's package and the VM's own variables.
#include <fmt/format.h>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

void add_flash(Draft& draft, const std::string& name, const std::string& path, const std::string& driver, bool writable,
               const char* why) {
  const int fd = draft.fds.take(name);
  draft.steps.push_back(
      {OpenFile{path, writable, false, fd}, "QEMU gets the open file, not the path", "spec boot.firmware"});
  draft.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", path), "the open image",
                 "spec boot.firmware");
  Opts file;
  file.set("driver", "file").set("node-name", name + "-file").set("filename", fmt::format("/dev/fdset/{}", fd));
  file.set("read-only", !writable).set("auto-read-only", false);
  draft.args.add("-blockdev", file, why, "spec boot.firmware");
  Opts format;
  format.set("driver", driver).set("node-name", name).set("file", name + "-file").set("read-only", !writable);
  draft.args.add("-blockdev", format, why, "spec boot.firmware");
}

}  // namespace

void add_uefi(Draft& draft) {
  if (!draft.facts.uefi) {
    draft.problem(draft.spec.boot.secure_boot ? "boot.secure_boot" : "boot.firmware",
                  "no UEFI firmware: " + draft.facts.uefi.error(),
                  "install it (Debian: apt install ovmf), or give firmware a file");
    return;
  }
  const Firmware& found = *draft.facts.uefi;
  const std::string state = draft.facts.state_base + "/" + draft.spec.name,
                    vars = fmt::format("{}/{}", state, found.vars_format == "raw" ? variables_file : variables_image);
  draft.steps.push_back({KeepDirectory{state}, "the VM's variables outlive its run", "spec boot.firmware"});
  draft.steps.push_back(
      {CopyOnce{found.vars_template, vars}, "its own variables, from the package's template", "spec boot.firmware"});
  add_flash(draft, "uefi-code", found.code, found.code_format, false,
            draft.spec.boot.code.empty() ? "the firmware that this host's descriptors name" : "the firmware given");
  add_flash(draft, "uefi-vars", vars, found.vars_format, true, "its variables");
  if (!found.smm) return;
  draft.args.add("-global", Opts().set("driver", "cfi.pflash01").set("property", "secure").set("value", true),
                 "only the firmware itself may write its variables", "spec boot.secure_boot");
  if (draft.spec.sleep)
    draft.problem("sleep", "true, but a sleep to memory would bypass what guards the firmware's variables",
                  "remove sleep, or boot.secure_boot");
}

}  // namespace launcher::parts
