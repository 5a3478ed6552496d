// The typed QMP commands vmrun uses, and nothing else of QMP's names anywhere. Each throws qmp::Error; a reply of an
// unexpected shape is Error(protocol).
#pragma once

#include <sys/types.h>

#include <boost/json/fwd.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qmp/client.hpp"

namespace qmp {

struct Vcpu {
  unsigned index = 0;  // cpu-index: what to key on, never the list position
  pid_t thread = 0;
  std::string qom_path;
};
struct Iothread {
  std::string id;
  pid_t thread = 0;
};

std::vector<Vcpu> query_cpus_fast(Client& client, std::chrono::milliseconds deadline);
std::vector<Iothread> query_iothreads(Client& client, std::chrono::milliseconds deadline);
// The handshake's command and those two, sent before the greeting: QEMU answers them in one go once its main loop runs.
void ask_ahead_for_threads(Client& client, bool iothreads, std::chrono::milliseconds deadline);
std::string query_status(Client& client, std::chrono::milliseconds deadline);  // "prelaunch", "running", "paused", ...
void cont(Client& client, std::chrono::milliseconds deadline);
void stop(Client& client, std::chrono::milliseconds deadline);
void system_powerdown(Client& client, std::chrono::milliseconds deadline);
void system_reset(Client& client, std::chrono::milliseconds deadline);
void quit(Client& client, std::chrono::milliseconds deadline);  // EOF before the reply also counts as done

// A virtio-mem device, sizes in bytes: what it can be, shall be, and is.
struct HotMemory {
  std::string id;
  std::uint64_t block = 0, max = 0, requested = 0, size = 0;
};
std::vector<HotMemory> query_hot_memory(Client& client, std::chrono::milliseconds deadline);
std::uint64_t query_base_memory(Client& client, std::chrono::milliseconds deadline);  // bytes, without the above
void request_hot_memory(Client& client, const std::string& id, std::uint64_t bytes, std::chrono::milliseconds deadline);
std::uint64_t query_balloon(Client& client, std::chrono::milliseconds deadline);  // bytes the guest has
void balloon(Client& client, std::uint64_t bytes, std::chrono::milliseconds deadline);

// For the feature probe.
struct MachineType {
  std::string name;
  std::string alias;  // "q35" on the versioned one
  bool deprecated = false;
  unsigned cpu_max = 0;
};
std::vector<MachineType> query_machines(Client& client, std::chrono::milliseconds deadline);
struct CpuModel {
  std::string name;
  bool deprecated = false;
};
std::vector<CpuModel> query_cpu_definitions(Client& client, std::chrono::milliseconds deadline);
// Every switch of a CPU model and how it stands under the accelerator that runs; nullopt: no such model there.
std::optional<std::map<std::string, bool>> query_cpu_model_expansion(Client& client, const std::string& model,
                                                                     std::chrono::milliseconds deadline);
// A property of an object that is true or false.
bool qom_get_flag(Client& client, const std::string& path, const std::string& property,
                  std::chrono::milliseconds deadline);
boost::json::value query_qmp_schema(Client& client, std::chrono::milliseconds deadline);
// The type of an option's parameter on the command line, "boolean" or "string"; "" where it has none of that name.
std::string option_type(Client& client, const std::string& option, const std::string& parameter,
                        std::chrono::milliseconds deadline);
// Property names of a device or object type; nullopt: this QEMU has no such type.
std::optional<std::vector<std::string>> device_list_properties(Client& client, const std::string& type,
                                                               std::chrono::milliseconds deadline);
std::optional<std::vector<std::string>> qom_list_properties(Client& client, const std::string& type,
                                                            std::chrono::milliseconds deadline);

}  // namespace qmp
