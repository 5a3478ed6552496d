// The volume that a guest gets its first words by: read back by another's reading of the format, of the same bytes each time.
#include "launcher/steps/fat_volume.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "tests/fakes/fat_reader.hpp"

namespace {

using launcher::fat_volume;
using launcher::VolumeFile;

std::string bytes_of(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 24);
  return bytes;
}

}  // namespace

TEST_CASE("what was written is read back, whatever its size") {
  for (const std::size_t size : {0u, 1u, 511u, 512u, 513u, 4096u, 100'000u, 2'100'000u, 5'000'000u}) {
    INFO(size);
    const std::string volume = fat_volume(
        "CIDATA",
        {{"meta-data", "a: 1\n"}, {"user-data", bytes_of(size)}, {"a name of some thirty letters.yaml", "x"}});
    const fakes::FatReader read(volume);
    CHECK(read.label() == "CIDATA");
    REQUIRE(read.files().size() == 3);
    CHECK(read.files().at("meta-data") == "a: 1\n");
    CHECK(read.files().at("user-data") == bytes_of(size));
    CHECK(read.files().at("a name of some thirty letters.yaml") == "x");
  }
}

TEST_CASE("the same files give the same bytes, and a small volume is small") {
  const std::vector<VolumeFile> files = {{"meta-data", "a"}, {"user-data", "b"}};
  CHECK(fat_volume("CIDATA", files) == fat_volume("CIDATA", files));
  CHECK(fat_volume("CIDATA", files) != fat_volume("CIDATA", {{"meta-data", "a"}, {"user-data", "c"}}));
  CHECK(fat_volume("CIDATA", files).size() == (1 + 2 + 4 + 64) * 512);
}

TEST_CASE("what no such volume can hold is refused") {
  CHECK_THROWS_AS(fat_volume("L", {{"a/b", ""}}), std::invalid_argument);
  CHECK_THROWS_AS(fat_volume("L", {{"", ""}}), std::invalid_argument);
  CHECK_THROWS_AS(fat_volume("L", {{"dot.", ""}}), std::invalid_argument);
  CHECK_THROWS_AS(fat_volume("L", {{"\xc3\xa4", ""}}), std::invalid_argument);
  CHECK_THROWS_AS(fat_volume("L", {{"large", std::string(launcher::most_in_volume + 1, 'x')}}), std::invalid_argument);
  CHECK_THROWS_AS(fat_volume("L", std::vector<VolumeFile>(40, {"name", "x"})), std::invalid_argument);
}
