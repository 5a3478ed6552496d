// A systemd credential (systemd.exec(5)): a short value by SMBIOS, or a file by fw_cfg.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"
#include "launcher/steps/memory_file.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Credential {
  std::string name;   // credential.name
  std::string value;  // credential.value; seen by whoever sees QEMU's command line
  std::string file;   // credential.file: handed over open, so that nobody but the guest sees it

  struct Facts {
    std::string misfit = {};  // why the file cannot be used; "" if it can
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "credential"};
  static Credential read(TableReader& table);
  friend bool operator==(const Credential&, const Credential&) = default;
};

Credential::Facts look_at(const Credential& credential);
Credential::Facts assumed(const Credential& credential);
DeviceNeeds needs(const Credential& credential, const Credential::Facts& facts, unsigned vcpus);
void plan_device(const Credential& credential, const Credential::Facts& facts, DeviceContext& context);

// One that is made in memory (or of SMBIOS, where a text's name is too long for a file's); false: the spec has its own of this name, which stands.
bool add_made_credential(DeviceContext& context, const std::string& name, std::vector<TextPart> parts,
                         const std::string& why, const std::string& origin);

// A credential that is an open file: by fw_cfg, so that no argument has it.
void add_file_credential(DeviceContext& context, const std::string& name, int fd, const std::string& origin);

}  // namespace launcher::devices
