// The end of a VM: everything is undone, also where somebody removed its directory or filled the file system it is on (what this process
// owes, it remembers).
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "launcher/life/await_lock.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/launch.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/steps/transaction.hpp"

namespace launcher::inline life {

namespace {

namespace fs = std::filesystem;

// The journal grows by a line for each undo; what nobody reads any more gives it the room where there is none left.
void make_room(const VmDir& dir) {
  std::error_code ignored;
  for (const char* name : {"qemu.log", "state.json"}) fs::remove(dir.path() / name, ignored);
}

}  // namespace

std::vector<std::string> finish(Host& host, const VmDir& dir, const fs::path& base, const Teller& teller) {
  try {
    const Lock lock = await_lock(base, teller.say, teller.check_cancelled);
    // The name may be another VM's by now, whose directory and journal are not to be touched.
    if (const auto owner = dir.owner(); owner && is_alive(*owner) && owner != process_id(getpid()))
      return {"its directory is another VM's by now; what it held is not known to be free"};
    make_room(dir);
    std::vector<std::string> left = unwind(host, dir, base, teller.say);
    pin_others_again(base, dir.name(), host);
    return left;
  } catch (const std::exception& error) {
    return {"could not put everything back: " + whole_story(error)};
  }
}

}  // namespace launcher::life
