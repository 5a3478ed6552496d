// Files of any bytes, cut from the input at its first byte's distance: what the volume holds is what went in.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "launcher/steps/fat_volume.hpp"
#include "tests/fakes/fat_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = std::size_t{data[0]} * 16 + 1;
  std::vector<launcher::VolumeFile> files;
  for (std::size_t at = 1; at < size && files.size() < 15; at += step)
    files.push_back({"file of number " + std::to_string(files.size()),
                     std::string(reinterpret_cast<const char*>(data) + at, std::min(step, size - at))});
  const std::string volume = launcher::fat_volume("CIDATA", files);
  const fakes::FatReader read(volume);
  if (read.files().size() != files.size()) std::abort();
  for (const auto& file : files)
    if (read.files().at(file.name) != file.bytes) std::abort();
  return 0;
}
