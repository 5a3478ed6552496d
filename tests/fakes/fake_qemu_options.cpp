// QEMU's option syntax, as far as vmrun writes it: key=value lists with a first key left out, ",," for a comma, or
// JSON.
#include "tests/fakes/fake_qemu_options.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>

namespace fake_qemu {
namespace {

using Map = std::map<std::string, std::string>;

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

Map read_map(const std::string& text, const std::string& first_key) {
  Map map;
  if (text.starts_with('{')) {
    const boost::json::value value = boost::json::parse(text);
    for (const auto& [key, item] : value.as_object()) {
      map[key] = item.is_string() ? std::string(item.get_string()) : boost::json::serialize(item);
    }
    return map;
  }
  bool first = true;
  for (const std::string& part : split_at_commas(text)) {
    const std::size_t equals = part.find('=');
    if (equals != std::string::npos) {
      map[part.substr(0, equals)] = part.substr(equals + 1);
    } else if (!part.empty()) {
      map[first ? first_key : part] = first ? part : "on";
    }
    first = false;
  }
  return map;
}

std::string get(const Map& map, const std::string& key, const std::string& otherwise = "") {
  const auto found = map.find(key);
  return found == map.end() ? otherwise : found->second;
}

unsigned number(const std::string& text, const std::string& option) {
  if (text.empty() || text.size() > 9 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    throw std::runtime_error(option + ": '" + text + "' is not a number");
  }
  return static_cast<unsigned>(std::stoul(text));
}

// "10:11:12"
std::vector<int> numbers(const std::string& text, const std::string& option) {
  std::vector<int> all;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(':', at), text.size());
    all.push_back(static_cast<int>(number(text.substr(at, end - at), option)));
    at = end + 1;
  }
  return all;
}

unsigned read_smp(const std::string& value) {
  const Map smp = read_map(value, "cpus");
  if (smp.contains("cpus")) return number(smp.at("cpus"), "-smp");
  unsigned product = 1;
  for (const char* level : {"drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads"}) {
    product *= number(get(smp, level, "1"), "-smp");
  }
  return product;
}

bool truth(const std::string& text) { return text == "on" || text == "yes" || text == "true"; }

struct Chardev {
  std::string backend;
  Map map;
};

}  // namespace

Options read_options(const std::vector<std::string>& arguments) {
  static const std::set<std::string> flags{"S",         "nodefaults", "no-user-config", "enable-kvm",
                                           "nographic", "no-reboot",  "no-shutdown",    "snapshot",
                                           "s",         "version",    "no-fd-bootchk"};
  Options options;
  std::map<std::string, Chardev> chardevs;
  std::vector<std::string> controls;  // chardev ids of control monitors
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (!name.starts_with('-')) continue;  // a disk image
    name.erase(0, name.starts_with("--") ? 2 : 1);
    options.paused |= name == "S";
    options.kvm |= name == "enable-kvm";
    options.version |= name == "version";
    if (flags.contains(name)) continue;
    if (++i == arguments.size()) throw std::runtime_error("-" + name + ": requires an argument");
    const std::string& value = arguments[i];
    if (name == "chardev") {
      const Map map = read_map(value, "backend");
      chardevs[get(map, "id")] = {get(map, "backend"), map};
      if (map.contains("fd")) options.fds.push_back(static_cast<int>(number(map.at("fd"), "-chardev")));
    } else if (name == "qmp") {
      if (value.starts_with("chardev:")) controls.push_back(value.substr(8));
    } else if (name == "object") {
      const Map map = read_map(value, "qom-type");
      if (get(map, "qom-type") == "iothread") options.iothreads.push_back(get(map, "id"));
      if (get(map, "qom-type") == "thread-context") options.thread_contexts.push_back(get(map, "id"));
    } else if (name == "smp") {
      options.vcpus = read_smp(value);
    } else if (name == "cpu") {
      options.cpu = value;
    } else if (name == "name") {
      options.name = get(read_map(value, "guest"), "guest");
    } else if (name == "accel") {
      options.kvm |= get(read_map(value, "accel"), "accel") == "kvm";
    } else if (name == "machine" || name == "M") {
      options.kvm |= get(read_map(value, "type"), "accel").starts_with("kvm");
    } else if (name == "add-fd") {
      options.fds.push_back(static_cast<int>(number(get(read_map(value, "fd"), "fd"), "-add-fd")));
    } else if (name == "netdev") {
      const Map map = read_map(value, "type");
      for (const char* key : {"fd", "fds", "vhostfd", "vhostfds"}) {
        for (const int fd : numbers(get(map, key), "-netdev")) {
          options.fds.push_back(fd);
          options.vhost_workers += std::string(key).starts_with("vhost") ? 1 : 0;
        }
      }
    } else if (name == "powerdown-ms") {
      options.powerdown_ms = static_cast<int>(number(value, "--powerdown-ms"));
    }
  }
  if (options.version) return options;

  for (const int fd : options.fds) {
    if (::fcntl(fd, F_GETFD) < 0) throw std::runtime_error("fd " + std::to_string(fd) + ": " + std::strerror(errno));
  }
  for (const std::string& id : controls) {
    const auto chardev = chardevs.find(id);
    if (chardev == chardevs.end()) throw std::runtime_error("-qmp: chardev \"" + id + "\" not found");
    const auto& [backend, map] = chardev->second;
    if (backend != "socket" || !map.contains("fd")) continue;
    options.monitors.push_back({static_cast<int>(number(map.at("fd"), "-chardev")), truth(get(map, "server", "off"))});
  }
  return options;
}

Behaviour read_behaviour(const char* environment) {
  static const std::set<std::string> known{"garbage",
                                           "half-line",
                                           "huge-line",
                                           "silence",
                                           "early-exit",
                                           "exit-after-greeting",
                                           "wrong-id",
                                           "die-after",
                                           "event-flood",
                                           "slow",
                                           "missing-vcpu",
                                           "shuffle-vcpus",
                                           "ignore-powerdown",
                                           "ignore-quit",
                                           "ignore-term",
                                           "powerdown-ms",
                                           "lacks",
                                           "late-recovery",
                                           "talks"};
  Behaviour behaviour;
  if (!environment) return behaviour;
  for (const std::string& part : split_at_commas(environment)) {
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    const std::string word = part.substr(0, equals);
    if (!known.contains(word)) throw std::runtime_error("FAKE_QEMU: unknown word '" + word + "'");
    behaviour[word] = equals == std::string::npos ? "" : part.substr(equals + 1);
  }
  return behaviour;
}

}  // namespace fake_qemu
