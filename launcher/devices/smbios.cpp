// The SMBIOS keys, and what they become on the command line. The rule: text only, since the tables end a string at its
// first NUL and guests print them as they are.
#include "launcher/devices/smbios.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "launcher/devices/device_context.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

void check_text(TableReader& table, const std::string& key, const std::string& text) {
  if (text.size() > 255)
    table.problem(key, fmt::format("{} bytes long; wanted at most 255", text.size()), "shorten it");
  const auto control =  // the reader has told of a NUL
      std::ranges::find_if(text, [](unsigned char c) { return (c != 0 && c < 0x20) || c == 0x7f; });
  if (control != text.end())
    table.problem(key,
                  fmt::format("contains the byte 0x{:02x}; wanted text without control characters",
                              static_cast<unsigned char>(*control)),
                  "remove it");
}

}  // namespace

Smbios Smbios::read(TableReader& table) {
  Smbios smbios;
  const auto text = [&](const char* key) {
    std::string value = table.text(key, "");
    check_text(table, key, value);
    return value;
  };
  smbios.manufacturer = text("manufacturer");
  smbios.product = text("product");
  smbios.version = text("version");
  smbios.serial = text("serial");
  smbios.sku = text("sku");
  smbios.family = text("family");
  smbios.strings = table.texts("strings");
  for (std::size_t i = 0; i < smbios.strings.size(); ++i)
    check_text(table, fmt::format("strings[{}]", i), smbios.strings[i]);
  return smbios;
}

Smbios::Facts look_at(const Smbios&) { return {}; }
Smbios::Facts assumed(const Smbios&) { return {}; }
DeviceNeeds needs(const Smbios&, const Smbios::Facts&, unsigned) { return {}; }

void plan_device(const Smbios& smbios, const Smbios::Facts&, DeviceContext& context) {
  Opts system;
  system.set("type", 1);
  bool any = false;
  for (const auto& [key, value] : {std::pair("manufacturer", &smbios.manufacturer),
                                   {"product", &smbios.product},
                                   {"version", &smbios.version},
                                   {"serial", &smbios.serial},
                                   {"sku", &smbios.sku},
                                   {"family", &smbios.family}}) {
    if (value->empty()) continue;
    system.set(key, *value);
    any = true;
  }
  if (any) context.args.add("-smbios", system, "what the guest's board says of itself", "spec smbios");
  for (const std::string& text : smbios.strings)
    context.args.add("-smbios", Opts().set("type", 11).set("value", text), "a string for the guest's own use",
                     context.origin("strings"));
}

}  // namespace launcher::devices
