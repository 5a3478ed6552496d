// The keys of [cloud_init], and what becomes of them: files on a volume, which is a disk after the others, and credentials. The rule:
// a cloud-config is written as JSON, of which YAML is a superset, so that nothing in a value can become a key.
#include "launcher/devices/cloud_init.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cctype>
#include <filesystem>
#include <string_view>

#include "launcher/devices/credential.hpp"
#include "launcher/devices/device_context.hpp"
#include "launcher/devices/guest_settings.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/steps/fat_volume.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

using Parts = std::vector<TextPart>;

bool consists_of(std::string_view text, std::string_view more, std::size_t most) {
  return !text.empty() && text.size() <= most && std::ranges::all_of(text, [&](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 || more.find(static_cast<char>(c)) != more.npos;
  });
}

bool is_hostname(const std::string& name) {
  return consists_of(name, "-.", 63) && name.front() != '-' && name.front() != '.' && name.back() != '-' &&
         name.back() != '.';
}
bool is_package(const std::string& name) {
  return consists_of(name, "+.-:=~_ABCDEFGHIJKLMNOPQRSTUVWXYZ", 200) &&
         std::isalnum(static_cast<unsigned char>(name[0])) != 0;
}

// "TYPE BASE64 [COMMENT]", perhaps with options before it
bool is_public_key(const std::string& line) {
  const bool plain = std::ranges::all_of(line, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  for (const std::string_view type : {"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"})
    if (const std::size_t at = line.find(type); plain && at != line.npos && (at == 0 || line[at - 1] == ' '))
      return line.find(" AAAA", at) != line.npos;
  return false;
}

void check_texts(TableReader& table, const CloudInit& one) {
  if (!is_guest_user(one.user))
    table.problem(
        "user",
        fmt::format("\"{}\" can name no user; wanted a name that useradd takes", printable(one.user.substr(0, 64))),
        "take lower case letters, digits, '_' and '-', at most 32, a letter first");
  if (!one.hostname.empty() && !is_hostname(one.hostname))
    table.problem(
        "hostname",
        fmt::format("\"{}\" can name no host; wanted a name as DNS has them", printable(one.hostname.substr(0, 64))),
        "take lower case letters, digits, '-' and '.', at most 63; or remove it for the VM's name");
  for (std::size_t i = 0; i < one.ssh_keys.size(); ++i)
    if (!is_public_key(one.ssh_keys[i]))
      table.problem("ssh_keys",
                    one.ssh_keys[i].find("PRIVATE KEY") != std::string::npos
                        ? fmt::format("the entry {} is a private key; wanted the public one", i)
                        : fmt::format("the entry {} is no line of a public key; wanted one as in authorized_keys", i),
                    "copy the line of ~/.ssh/id_ed25519.pub or the like: \"ssh-ed25519 AAAA... you@here\"");
  for (const std::string& package : one.packages)
    if (!is_package(package))
      table.problem("packages",
                    fmt::format("\"{}\" can name no package; wanted a name, perhaps with a version",
                                printable(package.substr(0, 64))),
                    "write names as the guest's own package manager knows them: [\"htop\", \"qemu-guest-agent\"]");
  const bool hash = one.password_hash.starts_with('$') && one.password_hash.size() > 10 &&
                    std::ranges::all_of(one.password_hash, [](unsigned char c) {
                      return std::isgraph(c) != 0 && c != ':' && c != '!' && c != '*';
                    });
  if (!one.password_hash.empty() && !hash)
    table.problem("password_hash", "is no hash of a password; wanted one as in /etc/shadow, \"$6$...\" or \"$y$...\"",
                  "make one with `openssl passwd -6`; a password in clear is not taken");
}

std::string quoted(const std::string& text) { return boost::json::serialize(boost::json::string(text)); }

std::string quoted_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ",") + quoted(text);
  return list;
}

// A list of public keys ends with the VM's own.
Parts cloud_config(const CloudInit& one, const DeviceContext& context, const std::string& keys) {
  const bool root = one.user == "root";
  std::string text = fmt::format("#cloud-config\n{{\"users\":[{{\"name\":{}", quoted(one.user));
  if (!root) text += ",\"shell\":\"/bin/bash\",\"sudo\":\"ALL=(ALL) NOPASSWD:ALL\"";
  text += one.password_hash.empty() ? fmt::format(",\"lock_passwd\":{}", !root)
                                    : ",\"lock_passwd\":false,\"hashed_passwd\":" + quoted(one.password_hash);
  text += ",\"ssh_authorized_keys\":[" + quoted_list(one.ssh_keys) + (one.ssh_keys.empty() ? "\"" : ",\"");
  Parts parts{{.text = text}, {.text = "", .file = keys + "/id.pub", .as = "json"}};
  text = "\"]}],\n\"manage_etc_hosts\":true";
  if (root) text += ",\"disable_root\":false";
  if (!one.packages.empty()) text += ",\"package_update\":true,\"packages\":[" + quoted_list(one.packages) + "]";
  if (const auto& half = context.results.guest; !half.empty())  // at each boot, before what the guest is for
    text += ",\n\"bootcmd\":[[\"sh\",\"-c\"," + quoted(guest_script(context.vm, half)) + ",\"sh\",\"boot\"]]";
  parts.push_back({.text = text + ",\n\"ssh_deletekeys\":true,\"ssh_keys\":{\"ed25519_private\":\""});
  parts.push_back({.text = "", .file = keys + "/host_key", .as = "json"});
  parts.push_back({.text = "\",\"ed25519_public\":\""});
  parts.push_back({.text = "", .file = keys + "/host_key.pub", .as = "json"});
  parts.push_back({.text = "\"}}\n"});
  return parts;
}

std::string hostname_of(const CloudInit& one, const std::string& vm) {
  if (!one.hostname.empty()) return one.hostname;
  std::string name = vm;
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  while (!is_hostname(name) && !name.empty()) name.pop_back();
  return name;
}

// A guest asks again for what it knows already only where the id is another one.
std::vector<SeedFile> seed_files(const CloudInit& one, const DeviceContext& context, const std::string& keys) {
  std::vector<SeedFile> files{
      {"meta-data",
       {{.text = fmt::format("{{\"instance-id\":{},\"local-hostname\":{}}}\n", quoted("vmrun-" + context.uuid),
                             quoted(hostname_of(one, context.vm)))}}}};
  // what the user's own says wins over what a vendor says
  files.push_back({one.user_data.empty() ? "user-data" : "vendor-data", cloud_config(one, context, keys)});
  if (!one.user_data.empty()) files.push_back({"user-data", {{.text = "", .file = one.user_data}}});
  if (!one.network.empty()) files.push_back({"network-config", {{.text = "", .file = one.network}}});
  return files;
}

void add_volume(const CloudInit& one, DeviceContext& context, const std::string& keys) {
  const int fd = context.fds.take("cloud-init's volume");
  context.steps.push_back({MakeVolume{"CIDATA", seed_files(one, context, keys), fd},
                           "cloud-init looks for a volume of this name", "spec cloud_init"});
  context.args.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", "cloud-init"), "the open volume",
                   "spec cloud_init");
  context.args.add("-blockdev",
                   Opts()
                       .set("driver", "file")
                       .set("node-name", "cloud-init")
                       .set("filename", "/dev/fdset/" + std::to_string(fd))
                       .set("read-only", true)
                       .set("auto-read-only", false)
                       .set("locking", "off"),
                   "in memory, read-only", "spec cloud_init");
  Opts device("virtio-blk-pci");
  device.set("id", "cloud-init").set("drive", "cloud-init");
  const unsigned place = context.results.disks_on_bus++;
  device.set("addr", pci_address(slots::disks, place));
  device.set("num-queues", 1).set("serial", "cidata");
  context.args.add("-device", device, "read by the guest's cloud-init; after the disks, whose names it leaves alone",
                   "spec cloud_init");
}

// For a guest whose systemd reads credentials, with or without cloud-init.
void add_credentials(const CloudInit& one, DeviceContext& context, const std::string& keys) {
  Parts authorized;
  for (const std::string& key : one.ssh_keys) authorized.push_back({.text = key + "\n"});
  authorized.push_back({.text = "", .file = keys + "/id.pub"});
  add_made_credential(context, "ssh.authorized_keys.root", authorized,
                      "root can be reached where there is no cloud-init", "spec cloud_init");
  const std::string host_key = "/etc/ssh/ssh_host_ed25519_key";
  add_made_credential(context, "tmpfiles.extra",
                      {{.text = guest_tmpfiles(context.results.guest) + "f+~ " + host_key + " 0600 root root - "},
                       {.text = "", .file = keys + "/host_key", .as = "base64"},
                       {.text = "\nf+~ " + host_key + ".pub 0644 root root - "},
                       {.text = "", .file = keys + "/host_key.pub", .as = "base64"},
                       {.text = "\n"}},
                      "the guest's sshd has the key that is known here", "spec cloud_init");
  if (context.results.credentials.insert("system.hostname").second)
    context.args.add(
        "-smbios",
        Opts().set("type", 11).set("value", "io.systemd.credential:system.hostname=" + hostname_of(one, context.vm)),
        "the name, where there is no cloud-init", "spec cloud_init");
}

std::string misfit_of(const std::string& path) {
  if (path.empty()) return "";
  if (std::string why = misfit(path, {S_IFREG}); !why.empty()) return why;
  std::error_code none;
  const auto size = std::filesystem::file_size(path, none);
  return !none && size > most_in_volume / 2 ? fmt::format("has {} bytes", size) : "";
}

}  // namespace

CloudInit CloudInit::read(TableReader& table) {
  CloudInit one;
  one.user = table.text("user", "vmrun");
  one.ssh_keys = table.texts("ssh_keys");
  one.password_hash = table.text("password_hash", "");
  one.hostname = table.text("hostname", "");
  one.packages = table.texts("packages");
  one.user_data = table.path("user_data", false);
  one.network = table.path("network_config", false);
  check_texts(table, one);
  return one;
}

CloudInit::Facts look_at(const CloudInit& one) {
  return {misfit_of(one.user_data), misfit_of(one.network), find_program("ssh-keygen").value_or("")};
}
CloudInit::Facts assumed(const CloudInit&) { return {.ssh_keygen = "/usr/bin/ssh-keygen"}; }
DeviceNeeds needs(const CloudInit&, const CloudInit::Facts&, unsigned) { return {}; }

bool is_guest_user(const std::string& name) {
  return consists_of(name, "_-", 32) && std::isdigit(static_cast<unsigned char>(name[0])) == 0 && name[0] != '-';
}

std::string ssh_directory(const std::string& state_dir) { return state_dir + "/ssh"; }

void plan_device(const CloudInit& one, const CloudInit::Facts& facts, DeviceContext& context) {
  const auto check = [&](const std::string& misfit, const char* key, const char* example) {
    if (!misfit.empty())
      context.problem(key,
                      fmt::format("{}; wanted a file of at most {} that this user may read", misfit,
                                  to_string(topology::Bytes{most_in_volume / 2})),
                      fmt::format("correct the path or its permissions, or remove {} ({})", key, example));
  };
  check(facts.user_data_misfit, "user_data", "it holds what cloud-init calls user-data, as it is");
  check(facts.network_misfit, "network_config", "it holds a network-config; without it the guest asks DHCP");
  if (facts.ssh_keygen.empty())
    context.problem("user", "there is no ssh-keygen here; wanted it for the VM's own keys",
                    "install it (Debian: apt install openssh-client)");
  if (context.results.disks_on_bus == context.kind.slots * functions_of_a_slot)
    context.problems.push_back({context.key, "its volume is one disk too many; wanted at most 63 beside it",
                                "remove a disk, or give several one controller (iothread_pool)"});
  const std::string keys = ssh_directory(context.state_dir);
  context.steps.push_back({KeepSshKeys{keys, context.vm, one.user, facts.ssh_keygen},
                           "`vmrun ssh` needs no password and no question", "spec cloud_init"});
  add_volume(one, context, keys);
  add_credentials(one, context, keys);
}

}  // namespace launcher::devices
