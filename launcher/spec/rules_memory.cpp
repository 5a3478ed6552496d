// What the keys of [memory] rule out of each other.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/spec/rules_parts.hpp"

namespace launcher::inline spec {

void check_memory(Rules& rules) {
  const MemorySpec& memory = rules.spec.memory;
  if (!rules.sound("memory.size") || !rules.sound("memory.page")) return;
  const topology::Bytes page = memory.page.value_or(topology::kib(4));
  if (memory.size.count % page.count != 0 && rules.spec.numa.empty()) {
    const topology::Bytes less = {memory.size.count / page.count * page.count}, more = less + page;
    const std::string pages = memory.page ? topology::to_string(page) + " pages" : "4K, the smallest page";
    rules.add("memory.size",
              fmt::format("{} is not a multiple of {}; wanted whole pages", topology::to_string(memory.size), pages),
              less.count
                  ? fmt::format("set size = \"{}\" or \"{}\"", topology::to_string(less), topology::to_string(more))
                  : fmt::format("set size = \"{}\", or choose a smaller page", topology::to_string(more)));
  }
  if (memory.page && *memory.page > topology::kib(4) && memory.prealloc == false && rules.sound("memory.prealloc"))
    rules.add("memory.prealloc",
              fmt::format("false with {} pages: a guest that touches a page the pool no longer has is killed (SIGBUS); "
                          "wanted true or \"auto\"",
                          topology::to_string(page)),
              "remove prealloc, or set memory.page = \"4K\"");
}

// What memory.max, merge and lock rule out.
void check_memory_kinds(Rules& rules) {
  const MemorySpec& memory = rules.spec.memory;
  const topology::Bytes page = memory.page.value_or(topology::kib(4));
  if (memory.max && rules.sound("memory.size") && rules.sound("memory.max")) {
    const topology::Bytes block = std::max(page, topology::mib(2));
    if (*memory.max <= memory.size)
      rules.add("memory.max",
                fmt::format("{}, and memory.size is {}; wanted more than that", to_string(*memory.max),
                            to_string(memory.size)),
                "raise it, or remove it: the guest then keeps what it starts with");
    else if ((memory.max->count - memory.size.count) % block.count != 0)
      rules.add("memory.max",
                fmt::format("{} more than memory.size; wanted a multiple of {}, in which virtio-mem gives it",
                            to_string(topology::Bytes{memory.max->count - memory.size.count}), to_string(block)),
                fmt::format("set max = \"{}\"",
                            to_string(memory.size +
                                      topology::Bytes{((memory.max->count - memory.size.count) / block.count + 1) *
                                                      block.count})));
    if (memory.lock != MemorySpec::Lock::off && rules.sound("memory.lock"))
      rules.add("memory.lock", "locked memory cannot grow: QEMU refuses virtio-mem with it; wanted one of the two",
                "remove memory.max, or lock");
  }
  if (memory.merge && (page > topology::kib(4) || memory.shared) && rules.sound("memory.page"))
    rules.add("memory.merge",
              fmt::format("true with {}; wanted private 4K pages: the kernel merges no others (KSM)",
                          memory.shared ? "shared = true" : topology::to_string(page) + " pages"),
              memory.shared ? "remove shared, or merge" : "set page = \"4K\", or remove merge");
}

void check_nodes(Rules& rules) {
  if (!rules.spec.memory.nodes || !rules.sound("memory.nodes")) return;
  const std::vector<unsigned>& nodes = *rules.spec.memory.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (std::find(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(i), nodes[i]) !=
        nodes.begin() + static_cast<std::ptrdiff_t>(i))
      rules.add(fmt::format("memory.nodes[{}]", i),
                fmt::format("node {} is listed twice; wanted each node once", nodes[i]), "remove one of the two");
}

}  // namespace launcher::spec
