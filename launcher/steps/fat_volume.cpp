#include "launcher/steps/fat_volume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <stdexcept>

namespace launcher::inline steps {

namespace {

constexpr std::size_t sector = 512, entry = 32, root_entries = 64, most_clusters = 4084, name_part = 13;
constexpr std::size_t root_sectors = root_entries * entry / sector;
constexpr std::uint16_t first_day = 0x21;  // 1980-01-01
constexpr std::uint8_t is_label = 0x08, is_archive = 0x20, is_long_name = 0x0f, last_part = 0x40;

void put(std::string& bytes, std::size_t at, std::uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i) & 0xff);
}
void put(std::string& bytes, std::size_t at, const std::string& text) { bytes.replace(at, text.size(), text); }

struct Geometry {
  std::size_t sectors_per_cluster = 1, clusters = 0, fat_sectors = 0;
  std::size_t cluster() const { return sectors_per_cluster * sector; }
  std::size_t root() const { return 1 + 2 * fat_sectors; }
  std::size_t data() const { return root() + root_sectors; }
  std::size_t sectors() const { return data() + clusters * sectors_per_cluster; }
};

std::size_t clusters_of(std::size_t bytes, std::size_t cluster) { return (bytes + cluster - 1) / cluster; }

// Clusters are as small as FAT12's number of them allows; a few stay free.
Geometry geometry_of(const std::vector<VolumeFile>& files) {
  constexpr std::size_t fewest = 64;
  Geometry result;
  while (true) {
    std::size_t used = 0;
    for (const VolumeFile& file : files) used += clusters_of(file.bytes.size(), result.cluster());
    result.clusters = std::max(used, fewest);
    if (result.clusters <= most_clusters) break;
    result.sectors_per_cluster *= 2;
  }
  result.fat_sectors = clusters_of((result.clusters + 2) * 3 / 2 + 1, sector);
  return result;
}

void set_next(std::string& fat, std::size_t cluster, unsigned next) {
  const std::size_t at = cluster * 3 / 2;
  const unsigned now = static_cast<unsigned char>(fat[at]) | static_cast<unsigned char>(fat[at + 1]) << 8;
  put(fat, at, cluster % 2 == 0 ? (now & 0xf000) | next : (now & 0x000f) | next << 4, 2);
}

std::string short_entry(const std::string& name, std::uint8_t kind) {
  std::string bytes(entry, '\0');
  put(bytes, 0, fmt::format("{:<11.11}", name));
  put(bytes, 11, kind, 1);
  for (const std::size_t at : {16U, 18U, 24U}) put(bytes, at, first_day, 2);
  return bytes;
}

// "META-D~1   ": unique by the number
std::string short_name(const std::string& name, std::size_t number) {
  const std::string tail = fmt::format("~{}", number);
  std::string stem;
  for (const unsigned char c : name)
    if (stem.size() + tail.size() < 8 && (std::isalnum(c) != 0 || c == '-' || c == '_'))
      stem += static_cast<char>(std::toupper(c));
  return fmt::format("{:<11}", stem + tail);
}

std::uint8_t checksum(const std::string& name) {
  unsigned sum = 0;
  for (const unsigned char c : name) sum = (((sum & 1) << 7 | sum >> 1) + c) & 0xff;
  return static_cast<std::uint8_t>(sum);
}

// The entries before the short one, the last part of the name first; UTF-16, ended by a zero, then filled with ones.
std::string long_entries(const std::string& name, const std::string& alias) {
  static constexpr std::size_t places[name_part] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
  const std::size_t parts = clusters_of(name.size(), name_part);
  std::string all;
  for (std::size_t part = parts; part-- > 0;) {
    std::string bytes(entry, '\0');
    put(bytes, 0, (part + 1) | (part + 1 == parts ? last_part : 0U), 1);
    put(bytes, 11, is_long_name, 1);
    put(bytes, 13, checksum(alias), 1);
    for (std::size_t i = 0; i < name_part; ++i) {
      const std::size_t at = part * name_part + i;
      put(bytes, places[i],
          at < name.size()    ? static_cast<unsigned char>(name[at])
          : at == name.size() ? 0
                              : 0xffff,
          2);
    }
    all += bytes;
  }
  return all;
}

std::string boot_sector(const Geometry& shape, const std::string& label, std::uint32_t id) {
  std::string bytes(sector, '\0');
  put(bytes, 0, std::string("\xeb\x3c\x90VMRUN   "));
  put(bytes, 11, sector, 2);
  put(bytes, 13, shape.sectors_per_cluster, 1);
  put(bytes, 14, 1, 2);  // the boot sector itself
  put(bytes, 16, 2, 1);  // FATs
  put(bytes, 17, root_entries, 2);
  put(bytes, 19, shape.sectors(), 2);
  put(bytes, 21, 0xf8, 1);  // a fixed disk
  put(bytes, 22, shape.fat_sectors, 2);
  put(bytes, 24, 32, 2);  // sectors of a track, and heads: of no use, and wanted
  put(bytes, 26, 2, 2);
  put(bytes, 36, 0x80, 1);
  put(bytes, 38, 0x29, 1);
  put(bytes, 39, id, 4);
  put(bytes, 43, fmt::format("{:<11.11}FAT12   ", label));
  put(bytes, 510, 0xaa55, 2);
  return bytes;
}

void check_names(const std::vector<VolumeFile>& files) {
  std::size_t bytes = 0, entries = 1;
  for (const VolumeFile& file : files) {
    const bool good = !file.name.empty() && file.name.size() <= 255 && file.name.front() != ' ' &&
                      file.name.back() != ' ' && file.name.back() != '.' &&
                      std::ranges::all_of(file.name, [](unsigned char c) {
                        return c >= 0x20 && c < 0x7f &&
                               std::string_view("\"*/:<>?\\|").find(static_cast<char>(c)) == std::string_view::npos;
                      });
    if (!good) throw std::invalid_argument("no name of a file on a FAT volume");
    bytes += file.bytes.size();
    entries += 1 + clusters_of(file.name.size(), name_part);
  }
  if (bytes > most_in_volume || entries > root_entries)
    throw std::invalid_argument(fmt::format("{} bytes in {} files are too much for the volume; wanted at most {}",
                                            bytes, files.size(), most_in_volume));
}

// FNV-1a
std::uint32_t id_of(const std::vector<VolumeFile>& files) {
  std::uint32_t hash = 0x811c9dc5;
  for (const VolumeFile& file : files)
    for (const unsigned char c : file.name + '\0' + file.bytes) hash = (hash ^ c) * 0x01000193;
  return hash;
}

}  // namespace

std::string fat_volume(const std::string& label, const std::vector<VolumeFile>& files) {
  check_names(files);
  const Geometry shape = geometry_of(files);
  std::string fat(shape.fat_sectors * sector, '\0'), root = short_entry(label, is_label), data;
  set_next(fat, 0, 0xff8);
  set_next(fat, 1, 0xfff);
  std::size_t next = 2, number = 0;
  for (const VolumeFile& file : files) {
    const std::size_t count = clusters_of(file.bytes.size(), shape.cluster());
    for (std::size_t i = 0; i < count; ++i)
      set_next(fat, next + i, i + 1 == count ? 0xfff : static_cast<unsigned>(next + i + 1));
    const std::string alias = short_name(file.name, ++number);
    std::string one = short_entry(alias, is_archive);
    put(one, 26, count == 0 ? 0 : next, 2);
    put(one, 28, file.bytes.size(), 4);
    root += long_entries(file.name, alias) + one;
    data += file.bytes;
    data.resize((next - 2 + count) * shape.cluster(), '\0');
    next += count;
  }
  root.resize(root_sectors * sector, '\0');
  std::string volume = boot_sector(shape, label, id_of(files)) + fat + fat + root + data;
  volume.resize(shape.sectors() * sector, '\0');
  return volume;
}

}  // namespace launcher::steps
