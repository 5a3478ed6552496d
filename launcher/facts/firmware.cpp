// Firmware descriptors -> the first that fits. What is malformed is passed over: it is another package's.
#include "launcher/facts/firmware.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>

namespace launcher::inline facts {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

bool lists(const json::value& list, std::string_view word) {
  return list.is_array() && std::ranges::any_of(list.get_array(), [word](const json::value& one) {
           return one.is_string() && one.get_string() == word;
         });
}

bool for_q35(const json::value& targets) {
  for (const json::value& target : targets.as_array()) {
    if (target.at("architecture").as_string() != "x86_64") continue;
    for (const json::value& machine : target.at("machines").as_array())
      if (fnmatch(machine.as_string().c_str(), "pc-q35-10.0", 0) == 0) return true;
  }
  return false;
}

// nullopt: it is for something else. Throws what Boost.JSON throws at another shape.
std::optional<Firmware> fitting(const json::value& descriptor, bool secure) {
  const json::value& mapping = descriptor.at("mapping");
  const json::value& features = descriptor.at("features");
  if (!lists(descriptor.at("interface-types"), "uefi") || !for_q35(descriptor.at("targets"))) return std::nullopt;
  if (mapping.at("device").as_string() != "flash") return std::nullopt;
  if (const json::value* mode = mapping.as_object().if_contains("mode");
      mode != nullptr && mode->as_string() != "split")
    return std::nullopt;
  const json::value& code = mapping.at("executable");
  const json::value& vars = mapping.at("nvram-template");
  for (const json::value* image : {&code, &vars})
    if (const auto& format = image->at("format").as_string(); format != "raw" && format != "qcow2") return std::nullopt;
  if (lists(features, "secure-boot") != secure || (secure && !lists(features, "enrolled-keys"))) return std::nullopt;
  const auto word = [](const json::value& image, const char* key) { return std::string(image.at(key).as_string()); };
  return Firmware{.code = word(code, "filename"),
                  .vars_template = word(vars, "filename"),
                  .code_format = word(code, "format"),
                  .vars_format = word(vars, "format"),
                  .smm = lists(features, "requires-smm")};
}

std::optional<json::value> read_json(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (error) return std::nullopt;
  return value;
}

}  // namespace

std::vector<fs::path> firmware_directories(const std::string& qemu) {
  std::vector<fs::path> all{"/usr/share/qemu/firmware"};
  const fs::path own = fs::path(qemu).parent_path().parent_path() / "share/qemu/firmware";
  if (!qemu.empty() && own != all.front()) all.push_back(own);
  all.emplace_back("/etc/qemu/firmware");
  const auto from = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  if (const std::string config = from("XDG_CONFIG_HOME"); !config.empty())
    all.push_back(fs::path(config) / "qemu/firmware");
  else if (const std::string home = from("HOME"); !home.empty())
    all.push_back(fs::path(home) / ".config/qemu/firmware");
  return all;
}

Firmware firmware_of(const std::string& code, const std::string& variables, bool smm) {
  const auto format = [](const std::string& image) { return image.ends_with(".qcow2") ? "qcow2" : "raw"; };
  return Firmware{.code = code,
                  .vars_template = variables,
                  .code_format = format(code),
                  .vars_format = format(variables),
                  .smm = smm};
}

std::expected<Firmware, std::string> find_firmware(const std::vector<fs::path>& directories, bool secure) {
  std::map<std::string, fs::path> files;  // by name: a later directory's replaces an earlier one's
  for (const fs::path& directory : directories) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(directory, none))
      if (entry.path().extension() == ".json") files[entry.path().filename().string()] = entry.path();
  }
  for (const auto& [name, file] : files) {
    const auto descriptor = read_json(file);
    if (!descriptor) continue;
    try {
      const auto found = fitting(*descriptor, secure);
      if (!found) continue;
      for (const std::string& image : {found->code, found->vars_template})
        if (access(image.c_str(), R_OK) != 0)
          return std::unexpected(fmt::format("{} names '{}', which cannot be read", file.string(), image));
      return *found;
    } catch (const std::exception&) {
      continue;  // another shape: not for us
    }
  }
  std::vector<std::string> places;
  places.reserve(directories.size());
  for (const fs::path& directory : directories) places.push_back(directory.string());
  return std::unexpected(fmt::format("none of the {} firmware descriptors in {} is for q35{}", files.size(),
                                     fmt::join(places, " and "), secure ? " with Secure Boot and enrolled keys" : ""));
}

Firmware assumed_firmware(bool secure) {
  const std::string keys = secure ? ".ms.fd" : ".fd";
  return {.code = "/usr/share/OVMF/OVMF_CODE_4M" + keys,
          .vars_template = "/usr/share/OVMF/OVMF_VARS_4M" + keys,
          .smm = secure};
}

}  // namespace launcher::facts
