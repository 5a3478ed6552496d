#include "launcher/life/end_story.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>

namespace launcher::inline life {

namespace {

std::string word_of(const qmp::Event& event, const char* key) {
  const auto* value = event.data.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

}  // namespace

std::string EndStory::see(const qmp::Event& event) {
  if (event.name == "SHUTDOWN") shutdown_reason_ = word_of(event, "reason");
  if (event.name == "POWERDOWN") asked_ = true;
  if (event.name == "GUEST_PANICKED") return see_panic(event);
  if (event.name == "WATCHDOG") return "the guest fed its watchdog no more";
  return {};
}

// action: "pause", "shutdown" or "run". With "run" it goes on, and what ends it later is something else.
std::string EndStory::see_panic(const qmp::Event& event) {
  const std::string what = word_of(event, "action");
  panicked_ = what != "run";
  if (what == "pause") return "the guest panicked and is paused, to be looked at; `vmrun stop` or `kill` ends it";
  return what == "run" ? "the guest panicked" : "";
}

EndStory::End EndStory::end(int qemu_exit, const std::string& words) const {
  if (panicked_) return {"panicked", "the guest panicked"};
  const std::string said = words.empty() ? "" : ", and its last words were: " + words;
  if (qemu_exit > 128) return {"killed", fmt::format("QEMU was killed by signal {}{}", qemu_exit - 128, said)};
  if (qemu_exit != 0) return {"failed", fmt::format("QEMU ended with exit code {}{}", qemu_exit, said)};
  if (shutdown_reason_ == "guest-shutdown") return {"powered-off", "the guest powered off"};
  if (shutdown_reason_ == "host-qmp-quit") return {"quit", "QEMU was told to quit"};
  return {"ended", "the VM ended"};
}

}  // namespace launcher::life
