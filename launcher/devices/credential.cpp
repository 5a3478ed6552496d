// A credential's keys, and what it becomes on the command line. The rule: what a file holds is never in an argument,
// which any user of the host could read.
#include "launcher/devices/credential.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/text/base64.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

constexpr std::size_t longest_file_name =
    55 - sizeof("opt/io.systemd.credentials/") + 1;  // FW_CFG_MAX_FILE_PATH in QEMU

// QEMU has 32 slots for files (FW_CFG_FILE_SLOTS_DFLT), about half of which are its own, and aborts when there are no more.
constexpr unsigned files_that_fit = 8;
constexpr std::size_t slots_for_all = 32 + most_of_a_kind;

bool is_plain(const std::string& text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c >= 0x7f; });
}

void add_by_smbios(DeviceContext& context, const std::string& name, const std::string& value, const std::string& why,
                   const std::string& origin) {
  const std::string text = is_plain(value) ? fmt::format("io.systemd.credential:{}={}", name, value)
                                           : fmt::format("io.systemd.credential.binary:{}={}", name, base64(value));
  context.args.add("-smbios", Opts().set("type", 11).set("value", text), why, origin);
}

}  // namespace

Credential Credential::read(TableReader& table) {
  Credential credential;
  credential.name = table.required_text("name");
  credential.value = table.text("value", "");
  credential.file = table.path("file", false);
  const std::size_t longest = credential.file.empty() ? 200 : longest_file_name;
  const bool good = !credential.name.empty() && credential.name.size() <= longest && credential.name[0] != '.' &&
                    std::ranges::all_of(credential.name, [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
                    });
  if (!good && table.has("name"))
    table.problem("name",
                  fmt::format("cannot name a credential here; wanted 1 to {} letters, digits, '.', '_' or '-', none of "
                              "the dots first",
                              longest),
                  "choose one such as \"ssh.authorized_keys.root\"");
  if (table.has("value") == table.has("file"))
    table.problem("name", "its value and its file are both given, or neither; wanted one of them",
                  "write value = \"...\", or file = \"...\" for what nobody else may read");
  return credential;
}

Credential::Facts look_at(const Credential& credential) {
  return {credential.file.empty() ? "" : misfit(credential.file, {S_IFREG})};
}
Credential::Facts assumed(const Credential&) { return {}; }
DeviceNeeds needs(const Credential&, const Credential::Facts&, unsigned) { return {}; }

void add_file_credential(DeviceContext& context, const std::string& name, int fd, const std::string& origin) {
  if (++context.results.fw_cfg_files == files_that_fit + 1)
    context.args.add("-global",
                     Opts()
                         .set("driver", "fw_cfg_io")
                         .set("property", "x-file-slots")
                         .set("value", static_cast<std::uint64_t>(slots_for_all)),
                     "QEMU has room for few files of its own accord", origin);
  context.args.add(
      "-fw_cfg",
      Opts().set("name", "opt/io.systemd.credentials/" + name).set("file", fmt::format("/proc/self/fd/{}", fd)),
      "read by the guest's systemd, and by nobody on this host", origin);
}

bool add_made_credential(DeviceContext& context, const std::string& name, std::vector<TextPart> parts,
                         const std::string& why, const std::string& origin) {
  if (!context.results.credentials.insert(name).second) return false;
  if (name.size() > longest_file_name && parts.size() == 1 && parts[0].file.empty()) {
    add_by_smbios(context, name, parts[0].text, why, origin);
    return true;
  }
  const int fd = context.fds.take("credential " + name);
  context.steps.push_back({MakeMemoryFile{"credential " + name, std::move(parts), fd}, why, origin});
  add_file_credential(context, name, fd, origin);
  return true;
}

void plan_device(const Credential& credential, const Credential::Facts& facts, DeviceContext& context) {
  if (!facts.misfit.empty())
    context.problem("file", facts.misfit + "; wanted a regular file that this user may read",
                    "correct the path or its permissions, or write value = \"...\" for what may be seen");
  context.results.credentials.insert(credential.name);
  if (!credential.file.empty()) {
    const int fd = context.fds.take("credential " + credential.name);
    context.steps.push_back(
        {OpenFile{credential.file, false, true, fd}, "QEMU gets the open file, not the path", context.origin("file")});
    add_file_credential(context, credential.name, fd, context.origin("file"));
    return;
  }
  add_by_smbios(context, credential.name, credential.value, "read by the guest's systemd", context.origin("value"));
}

}  // namespace launcher::devices
