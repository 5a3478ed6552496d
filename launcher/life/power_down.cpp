#include "launcher/life/power_down.hpp"

#include "launcher/life/stop_ladder.hpp"
#include "launcher/text/printable.hpp"
#include "qmp/commands.hpp"

namespace launcher::inline life {

PowerDown power_down(qmp::Client& monitor, std::chrono::milliseconds patience) {
  const std::string status = qmp::query_status(monitor, patience);
  // QEMU lets these go on only after a reset
  for (const char* ended : {"guest-panicked", "internal-error", "shutdown"})
    if (status == ended) return {false, "the guest is at its end (" + printable(status) + ") and cannot power down"};
  const bool paused = status == "paused" || status == "io-error" || status == "watchdog";
  if (paused) qmp::cont(monitor, patience);
  qmp::system_powerdown(monitor, patience);
  return {true,
          std::string(paused ? "the VM was paused and runs again, to power down; " : "") + describe(Rung::powerdown)};
}

}  // namespace launcher::life
