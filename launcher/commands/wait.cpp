// `vmrun wait`: until a VM has ended and everything is put back.
#include <poll.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <cerrno>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"

namespace launcher::commands {

int wait(const Options& options) {
  const VmDir dir = named_vm(options);
  const auto owner = dir.owner();
  const int fd = owner ? open_pidfd(*owner) : -1;
  if (fd >= 0) {
    const std::optional<double> timeout = options.number("timeout");
    pollfd waiting{fd, POLLIN, 0};
    int ready = 0;
    do {
      ready = poll(&waiting, 1, timeout ? static_cast<int>(*timeout * 1000) : -1);
    } while (ready < 0 && errno == EINTR);
    close(fd);
    if (ready == 0) throw std::runtime_error("VM " + dir.name() + " still runs");
  }
  if (options.flag("json")) print_json({{"name", dir.name()}, {"ended", true}});
  return done;
}

}  // namespace launcher::commands
