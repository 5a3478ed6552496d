#include "launcher/host/pools.hpp"

#include <optional>
#include <stdexcept>
#include <string>

#include "launcher/host/host.hpp"
#include "topology/words.hpp"

namespace launcher::inline host {

namespace {

std::string node_file(unsigned node, const std::string& file) {
  return "/sys/devices/system/node/node" + std::to_string(node) + "/" + file;
}

std::string pool_file(unsigned node, topology::Bytes page, const char* file) {
  return node_file(node, "hugepages/hugepages-" + std::to_string(page.count / 1024) + "kB/" + file);
}

std::optional<std::uint64_t> number(KernelFiles& kernel, const std::string& path) {
  const auto text = kernel.read(path);
  return text ? topology::number_of(*text) : std::nullopt;
}

}  // namespace

// Surplus pages are counted until they are let go of, but what is written is the number without them. The two numbers are two files, and
// pages that a dying QEMU lets go of leave both between one read and the next: they count when the surplus is the same before and after.
std::uint64_t pool_total(KernelFiles& kernel, unsigned node, topology::Bytes page) {
  const auto surplus = [&] { return number(kernel, pool_file(node, page, "surplus_hugepages")).value_or(0); };
  constexpr int patience = 1000;
  for (int attempt = 0;; ++attempt) {
    const std::uint64_t before = surplus();
    const auto total = number(kernel, pool_file(node, page, "nr_hugepages"));
    if (!total)
      throw std::runtime_error("node " + std::to_string(node) + " has no pool of " + to_string(page) + " pages");
    if (surplus() == before || attempt == patience) return *total - std::min(*total, before);
  }
}

std::uint64_t set_pool(KernelFiles& kernel, unsigned node, topology::Bytes page, std::uint64_t total) {
  kernel.write(pool_file(node, page, "nr_hugepages"), std::to_string(total));
  return pool_total(kernel, node, page);
}

void compact_memory(KernelFiles& kernel, unsigned node) {
  if (const std::string file = node_file(node, "compact"); kernel.exists(file)) kernel.write(file, "1");
}

}  // namespace launcher::host
