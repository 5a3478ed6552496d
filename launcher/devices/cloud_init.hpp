// What the guest is told of itself at its first boot: a volume for cloud-init (NoCloud), and the like as systemd credentials. The rule:
// it is made in memory, of the same bytes every time, and what is secret in it stands in no argument and in no file of others.
#pragma once

#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct CloudInit {
  std::string user;                   // cloud_init.user
  std::vector<std::string> ssh_keys;  // cloud_init.ssh_keys: lines of authorized_keys, beside the VM's own key
  std::string password_hash;          // cloud_init.password_hash, as in /etc/shadow; "": none can log in by password
  std::string hostname;               // cloud_init.hostname; "": the VM's name
  std::vector<std::string> packages;  // cloud_init.packages
  std::string user_data;              // cloud_init.user_data: a file, handed on as it is
  std::string network;                // cloud_init.network_config: the same

  struct Facts {
    std::string user_data_misfit = {}, network_misfit = {};  // why they cannot be used; "" if they can
    std::string ssh_keygen = {};                             // its path; "": there is none
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "cloud_init", .many = false};
  static CloudInit read(TableReader& table);
  friend bool operator==(const CloudInit&, const CloudInit&) = default;
};

CloudInit::Facts look_at(const CloudInit& cloud_init);
CloudInit::Facts assumed(const CloudInit& cloud_init);
DeviceNeeds needs(const CloudInit& cloud_init, const CloudInit::Facts& facts, unsigned vcpus);
void plan_device(const CloudInit& cloud_init, const CloudInit::Facts& facts, DeviceContext& context);

bool is_guest_user(const std::string& name);  // one that useradd takes everywhere

std::string ssh_directory(const std::string& state_dir);  // of the VM's keys: "/var/lib/vmrun/db/ssh"

}  // namespace launcher::devices
