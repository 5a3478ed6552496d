// `vmrun set NAME memory=SIZE|balloon=SIZE|cdrom[N]=FILE`: changes what a running guest has, and waits until it has it. The rule: only
// within what the plan claimed at the start, so nothing has to be looked for on the host.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <thread>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/commands/set_cdrom.hpp"
#include "qmp/commands.hpp"

namespace launcher::commands {

namespace {

using Clock = std::chrono::steady_clock;
using topology::Bytes;

// Asks `now` until it is `wanted`, and says how far it is. false: it did not get there in time.
bool await(std::uint64_t wanted, const std::function<std::uint64_t()>& now, ::qmp::Client& client,
           std::chrono::milliseconds limit) {
  const Clock::time_point end = Clock::now() + limit;
  const bool watched = isatty(STDERR_FILENO) != 0;
  bool there = false;
  for (std::uint64_t has = now(); !(there = has == wanted) && Clock::now() < end; has = now()) {
    if (watched) progress(fmt::format("{} of {}", to_string(Bytes{has}), to_string(Bytes{wanted})));
    // an event of it cuts the wait short
    client.wait_events(std::chrono::milliseconds(200), [](const ::qmp::Event& event) {
      return event.name == "MEMORY_DEVICE_SIZE_CHANGE" || event.name == "BALLOON_CHANGE";
    });
  }
  if (watched) progress("");
  return there;
}

std::uint64_t memory_of(::qmp::Client& client) {
  std::uint64_t bytes = ::qmp::query_base_memory(client, patience);
  for (const ::qmp::HotMemory& device : ::qmp::query_hot_memory(client, patience)) bytes += device.size;
  return bytes;
}

// Over the devices in proportion to what they can be, in whole blocks; what is left over goes where there is room.
void request(::qmp::Client& client, std::uint64_t extra) {
  const std::vector<::qmp::HotMemory> devices = ::qmp::query_hot_memory(client, patience);
  std::uint64_t most = 0, left = extra;
  for (const auto& device : devices) most += device.max;
  std::vector<std::uint64_t> parts;
  for (const auto& device : devices) {
    const auto part = static_cast<std::uint64_t>(static_cast<long double>(extra) *
                                                 static_cast<long double>(device.max) / static_cast<long double>(most));
    parts.push_back(std::min({part / device.block * device.block, device.max, left}));
    left -= parts.back();
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const std::uint64_t more = std::min(left, devices[i].max - parts[i]);
    left -= more;
    ::qmp::request_hot_memory(client, devices[i].id, parts[i] + more, patience);
  }
}

void set_memory(::qmp::Client& client, const VmDir& dir, Bytes wanted, std::chrono::milliseconds limit) {
  const std::uint64_t base = ::qmp::query_base_memory(client, patience);
  std::uint64_t most = base, block = 1;
  for (const ::qmp::HotMemory& device : ::qmp::query_hot_memory(client, patience)) {
    most += device.max;
    block = device.block;
  }
  if (most == base) throw UsageError("VM " + dir.name() + " cannot be given memory: its spec has no memory.max");
  if (wanted.count < base || wanted.count > most || (wanted.count - base) % block != 0)
    throw UsageError(fmt::format("memory={}: wanted {} to {}, in steps of {}", to_string(wanted),
                                 to_string(Bytes{base}), to_string(Bytes{most}), to_string(Bytes{block})));
  request(client, wanted.count - base);
  if (!await(
          wanted.count, [&] { return memory_of(client); }, client, limit))
    throw std::runtime_error(
        fmt::format("the guest has {} and was asked to have {}: it takes memory, or gives it back, "
                    "as it can (it needs a virtio_mem driver, and runs)",
                    to_string(Bytes{memory_of(client)}), to_string(wanted)));
}

void set_balloon(::qmp::Client& client, const VmDir& dir, Bytes wanted, std::chrono::milliseconds limit) {
  try {
    ::qmp::balloon(client, wanted.count, patience);
  } catch (const ::qmp::Error& error) {
    if (error.error_class == "DeviceNotActive")
      throw UsageError("VM " + dir.name() + " has no balloon: its spec needs a table [balloon]");
    throw;
  }
  const auto now = [&] { return ::qmp::query_balloon(client, patience); };
  if (!await(wanted.count, now, client, limit))
    throw std::runtime_error(
        fmt::format("the guest has {} and was asked to have {}", to_string(Bytes{now()}), to_string(wanted)));
}

}  // namespace

int set(const Options& options) {
  const VmDir dir = named_vm(options);
  const std::string& text = options.word(1, "memory=SIZE, balloon=SIZE or cdrom[N]=FILE");
  const std::size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  if (is_cdrom_key(key) && equals != text.npos) {
    ::qmp::Client monitor = connect_monitor(dir);
    const std::string file = text.substr(equals + 1);
    set_cdrom(monitor, dir, key, file);
    report(options, dir, file.empty() ? key + " is empty" : fmt::format("{} is {}", key, file));
    return done;
  }
  const auto size = topology::parse_bytes(equals == text.npos ? "" : text.substr(equals + 1));
  if ((key != "memory" && key != "balloon") || !size)
    throw UsageError("wanted memory=SIZE, balloon=SIZE or cdrom[N]=FILE, such as memory=24G" +
                     (size ? "" : ": " + size.error()));
  ::qmp::Client client = connect_monitor(dir);
  const std::chrono::milliseconds limit(static_cast<long>(options.number("timeout").value_or(60) * 1000));
  key == "memory" ? set_memory(client, dir, *size, limit) : set_balloon(client, dir, *size, limit);
  report(options, dir, fmt::format("{} is {}", key, to_string(*size)));
  return done;
}

}  // namespace launcher::commands
