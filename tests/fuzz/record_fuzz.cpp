// A record of a run, of any bytes: it is read or left out, and what is read is written and read again as it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "launcher/life/run_record.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;

const fs::path& runs() {
  static const fakes::TempDir made;
  return made.path();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fs::path file = runs() / "a.json";
  std::ofstream(file, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto records = launcher::read_records(runs());
  if (records.empty()) return 0;
  (void)launcher::ending_of(records[0]);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << launcher::to_json(records[0]);
  if (launcher::read_records(runs()) != records) std::abort();
  return 0;
}
