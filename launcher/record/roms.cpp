#include "launcher/record/roms.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

namespace launcher::inline record {

namespace {

namespace fs = std::filesystem;

// A binary that was not installed, or was moved, has all below qemu-bundle (QEMU: system/datadir.c, util/cutils.c get_relocated_path()).
std::vector<fs::path> places_of(const std::string& qemu) {
  std::error_code error;
  const fs::path program = fs::canonical(qemu, error), beside = program.parent_path();
  const fs::path bundle = beside / "qemu-bundle" / "usr";
  const fs::path base = fs::is_directory(bundle, error) ? bundle : beside.parent_path();
  return {base / "share/qemu", base / "share/seabios", base / "lib/ipxe/qemu"};
}

// A word that stands somewhere in the arguments, and the file that comes with it.
struct Rom {
  std::string_view with, file;
};
constexpr std::array roms{Rom{"-kernel", "linuxboot_dma.bin"},     Rom{"VGA", "vgabios-stdvga.bin"},
                          Rom{"virtio-vga", "vgabios-virtio.bin"}, Rom{"qxl-vga", "vgabios-qxl.bin"},
                          Rom{"ramfb", "vgabios-ramfb.bin"},       Rom{"bochs-display", "vgabios-bochs-display.bin"}};

bool begins(std::string_view argument, std::string_view word) {
  return argument.starts_with(word) && (argument.size() == word.size() || argument[word.size()] == ',');
}

}  // namespace

std::vector<std::string> roms_of(const std::string& qemu, const boost::json::array& argv) {
  std::vector<std::string_view> files;
  const auto any = [&](const auto& is_it) {
    return std::ranges::any_of(argv, [&](const boost::json::value& one) {
      return one.is_string() && is_it(std::string_view(one.get_string()));
    });
  };
  const bool micro = any([](std::string_view one) { return begins(one, "microvm"); });
  const bool other_firmware =
      any([](std::string_view one) { return one == "-bios" || one.find("pflash") != std::string_view::npos; });
  if (!other_firmware) files.push_back(micro ? "bios-microvm.bin" : "bios-256k.bin");
  for (const Rom& rom : roms)
    if (!micro && any([&](std::string_view one) { return begins(one, rom.with); })) files.push_back(rom.file);
  const auto boots_from_net = [](std::string_view one) {
    return begins(one, "virtio-net-pci") && one.find(",romfile=") == std::string_view::npos;
  };
  if (!micro && any(boots_from_net)) files.push_back("efi-virtio.rom");
  std::vector<std::string> found;
  for (const std::string_view file : files)
    for (const fs::path& place : places_of(qemu)) {
      std::error_code error;
      const fs::path path = place / file;
      if (!fs::exists(path, error)) continue;
      found.push_back(fs::canonical(path, error).string());
      break;
    }
  return found;
}

}  // namespace launcher::record
