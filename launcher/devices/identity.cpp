#include "launcher/devices/identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cctype>

#include "launcher/facts/vm_uids.hpp"

namespace launcher::inline devices {

namespace {

boost::uuids::uuid derive(const std::string& vm, const std::string& what, const std::string& host = {}) {
  static const boost::uuids::uuid ours = boost::uuids::name_generator_sha1(boost::uuids::ns::dns())("vmrun.invalid");
  return boost::uuids::name_generator_sha1(ours)(what + "/" + vm + (host.empty() ? "" : "/" + host));
}

}  // namespace

bool is_uuid(std::string_view text) {
  constexpr std::string_view form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  bool good = text.size() == form.size();
  for (std::size_t i = 0; good && i < form.size(); ++i)
    good = form[i] == '-' ? text[i] == '-' : std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
  return good;
}

std::string uuid_of(const std::string& vm, const std::string& host) { return to_string(derive(vm, "vm", host)); }

std::string mac_of(const std::string& vm, unsigned nic, const std::string& host) {
  const auto hash = derive(vm, fmt::format("net{}", nic), host);
  return fmt::format("52:54:00:{:02x}:{:02x}:{:02x}", hash.data[0], hash.data[1], hash.data[2]);
}

std::string tap_of(const std::string& vm, unsigned nic) {
  std::string readable;
  for (char c : vm) {
    if (readable.size() < 5 && std::isalnum(static_cast<unsigned char>(c)) != 0) readable += c;
  }
  const auto hash = derive(vm, "tap");
  return fmt::format("v{}{:02x}{:02x}{:02x}.{}", readable, hash.data[0], hash.data[1], hash.data[2], nic);
}

std::uint32_t cid_of(const std::string& vm) {
  const auto hash = derive(vm, "vsock");
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | hash.data[i];
  constexpr std::uint32_t least = 1u << 16, end = 1u << 31;
  return least + value % (end - least);
}

unsigned uid_of(const std::string& vm) {
  const auto hash = derive(vm, "uid");
  unsigned value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | hash.data[i];
  return vm_id_range.first + value % vm_id_range.count;
}

}  // namespace launcher::devices
