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
  constexpr int long_wait = 100;
  const auto now = std::chrono::steady_clock::now();
  if ((milliseconds >= 0 && milliseconds < long_wait) || now < next_) return milliseconds;
  slim_down();
  next_ = now + std::chrono::seconds(1);
  return milliseconds;
}

}  // namespace launcher::life
