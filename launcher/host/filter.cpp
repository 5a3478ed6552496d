#include "launcher/host/filter.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "launcher/host/fd.hpp"
#include "launcher/host/host.hpp"
#include "launcher/host/process.hpp"

namespace launcher::inline host {

namespace {

std::string text_of(const Fd& file) {
  std::string text;
  std::array<char, 65536> part{};
  lseek(file.get(), 0, SEEK_SET);
  for (ssize_t got = 0; (got = ::read(file.get(), part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  return text;
}

}  // namespace

std::string filtered(const std::vector<std::string>& argv, const std::string& input) {
  const Fd in = LinuxHost().memory_file("filter", input);
  const Fd out = opened_or_refuse(memfd_create("vmrun-filter", MFD_CLOEXEC), "memfd");
  ChildSpec child{};
  child.argv = argv;
  const ProcessId one = spawn(child, {{0, in.get()}, {1, out.get()}, {2, STDERR_FILENO}}, [](const ProcessId&) {});
  if (const int status = reap(one.pid); status != 0)
    throw std::runtime_error(argv.at(0) + " ended with status " + std::to_string(status));
  return text_of(out);
}

}  // namespace launcher::host
