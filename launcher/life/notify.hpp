// What systemd is told, and what it wants to hear. The rule: no socket, no word, no failure.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace launcher::inline life {

// sd_notify(3)'s protocol, as far as we need it: a datagram to $NOTIFY_SOCKET. No socket: nothing happens.
void notify_systemd(const std::string& message);

// Half of systemd's WATCHDOG_USEC; nullopt: no watchdog wanted.
std::optional<std::chrono::microseconds> watchdog_period();

}  // namespace launcher::life
