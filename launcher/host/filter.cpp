#include "launcher/host/filter.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "launcher/host/fd.hpp"
#include "launcher/host/linux_host.hpp"
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

Said run_quietly(const ChildSpec& child, const std::string& input) {
  const Fd in = LinuxFiles().memory_file("filter", input);
  const Fd out = opened_or_refuse(memfd_create("vmrun-out", MFD_CLOEXEC), "memfd");
  const Fd err = opened_or_refuse(memfd_create("vmrun-err", MFD_CLOEXEC), "memfd");
  const ProcessId one = spawn(child, {{0, in.get()}, {1, out.get()}, {2, err.get()}}, [](const ProcessId&) {});
  const int code = reap(one.pid);
  return {text_of(out), text_of(err), code};
}

std::string filtered(const std::vector<std::string>& argv, const std::string& input) {
  ChildSpec child{};
  child.argv = argv;
  const Said said = run_quietly(child, input);
  if (said.code != 0)
    throw std::runtime_error(argv.at(0) + " ended with status " + std::to_string(said.code) +
                             (said.err.empty() ? "" : ": " + said.err));
  return said.out;
}

}  // namespace launcher::host
