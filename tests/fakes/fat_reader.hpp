// Reads a FAT12 volume back, by Microsoft's "FAT: General Overview of On-Disk Format" alone: what the writer made is checked against
// another's reading. Throws std::runtime_error with what is wrong.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fakes {

class FatReader {
 public:
  explicit FatReader(std::string_view volume) : all_(volume) {
    need(number(510, 2) == 0xaa55 && number(11, 2) == 512, "no boot sector");
    cluster_ = number(13, 1) * 512;
    need(cluster_ > 0 && number(16, 1) == 2 && number(19, 2) * 512 == all_.size(), "its geometry");
    fat_ = number(14, 2) * 512;
    const std::size_t fat_bytes = number(22, 2) * 512;
    root_ = fat_ + 2 * fat_bytes;
    data_ = root_ + number(17, 2) * 32;
    clusters_ = (all_.size() - data_) / cluster_;
    need(clusters_ < 4085, "not FAT12");
    need(fat_bytes * 2 / 3 >= clusters_ + 2, "its FAT is too small");
    need(all_.substr(fat_, fat_bytes) == all_.substr(fat_ + fat_bytes, fat_bytes), "the two FATs differ");
    read_root();
  }
  const std::map<std::string, std::string>& files() const { return files_; }  // by their long names
  const std::string& label() const { return label_; }

 private:
  static void need(bool good, const char* what) {
    if (!good) throw std::runtime_error(std::string("FAT: ") + what);
  }
  std::size_t number(std::size_t at, unsigned size) const {
    std::size_t value = 0;
    for (unsigned i = 0; i < size; ++i) value |= std::size_t{static_cast<unsigned char>(all_.at(at + i))} << 8 * i;
    return value;
  }
  std::size_t next(std::size_t cluster) const {
    const std::size_t word = number(fat_ + cluster + cluster / 2, 2);
    return cluster % 2 == 0 ? word & 0xfff : word >> 4;
  }
  std::string contents(std::size_t cluster, std::size_t size) {
    std::string bytes;
    while (cluster >= 2 && cluster < 0xff8) {
      need(cluster < clusters_ + 2 && !used_[cluster], "a cluster of nobody, or of two");
      used_[cluster] = true;
      bytes += all_.substr(data_ + (cluster - 2) * cluster_, cluster_);
      cluster = next(cluster);
    }
    need(bytes.size() >= size && bytes.size() < size + cluster_, "a chain that is not as long as its file");
    return bytes.substr(0, size);
  }
  static unsigned sum(std::string_view name) {
    unsigned value = 0;
    for (const unsigned char c : name) value = ((value & 1 ? 0x80 : 0) + (value >> 1) + c) & 0xff;
    return value;
  }
  void read_root() {
    std::string name;
    std::size_t part = 0, wanted = 0;
    for (std::size_t at = root_; at < data_ && number(at, 1) != 0; at += 32) {
      const std::string_view alias = all_.substr(at, 11);
      if (number(at + 11, 1) == 0x08) {
        label_ = alias.substr(0, alias.find_last_not_of(' ') + 1);
      } else if (number(at + 11, 1) == 0x0f) {
        const std::size_t order = number(at, 1);
        if (order & 0x40) name.clear(), part = (order & 0x3f) + 1, wanted = number(at + 13, 1);
        need(--part == (order & 0x3f) && number(at + 13, 1) == wanted, "the order of a long name");
        std::string piece;
        for (const unsigned place : {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30})
          if (const std::size_t c = number(at + place, 2); c != 0 && c != 0xffff) piece += static_cast<char>(c);
        name = piece + name;
      } else {
        need(part == 1 && sum(alias) == wanted, "a long name that is another file's");
        need(files_.emplace(name, contents(number(at + 26, 2), number(at + 28, 4))).second, "a name twice");
      }
    }
  }

  std::string_view all_;
  std::size_t cluster_ = 0, fat_ = 0, root_ = 0, data_ = 0, clusters_ = 0;
  std::map<std::size_t, bool> used_;
  std::map<std::string, std::string> files_;
  std::string label_;
};

}  // namespace fakes
