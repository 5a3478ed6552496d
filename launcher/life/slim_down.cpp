#include "launcher/life/slim_down.hpp"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace launcher::inline life {

void slim_down() {
  malloc_trim(0);
  const auto drop_text = [](dl_phdr_info* object, std::size_t, void*) {
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    for (int i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;  // never written: nothing can be lost
      const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
      const std::uintptr_t end = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz) / page * page;
      if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // NOLINT: an address range
    }
    return 0;
  };
  dl_iterate_phdr(drop_text, nullptr);
}

int Slimming::before_wait(int milliseconds) {
  constexpr int moment = 250;
  for_a_moment_ = !slim_ && (milliseconds < 0 || milliseconds > moment);
  return for_a_moment_ ? moment : milliseconds;
}

int Slimming::after_wait(int ready) {
  const bool quiet = for_a_moment_ && ready == 0;
  if (quiet) slim_down();
  slim_ = quiet;
  return ready;
}

}  // namespace launcher::life
