// The first bytes of an image, whatever they are: answered without end or fault.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/facts/image.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view head(reinterpret_cast<const char*>(data), size);
  launcher::format_by_bytes(head);
  const auto parsed = launcher::parse_qcow2(head);
  if (parsed && parsed->backing.size() > 1023) std::abort();
  return 0;
}
