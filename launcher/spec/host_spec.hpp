// What a VM wants of the host's own settings while it runs ([host]). The rule: only the VM's own CPUs are tuned, and only for its
// life; as in spec.hpp, nothing in here has been looked up.
#pragma once

#include <optional>

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline spec {

enum class Wish { no, maybe, yes };  // maybe: where it can be had, and the plan says where not

struct HostSpec {
  Wish isolate = Wish::no;                             // host.isolate: false | true | "auto"
  Wish governor = Wish::no;                            // host.governor: "keep" | "performance" | "auto"
  Wish energy = Wish::no;                              // host.energy: "keep" | "performance" | "auto"
  std::optional<unsigned> max_latency;                 // host.max_latency_us: of C-states; nullopt: as they are
  std::optional<bool> interrupts;                      // host.interrupts: "auto" (with isolate) | "keep" | "move"
  std::optional<bool> workqueues;                      // host.workqueues: the same
  bool asks() const;                                   // anything at all
  Wish moves(const std::optional<bool>& asked) const;  // interrupts or workqueues
  friend bool operator==(const HostSpec&, const HostSpec&) = default;
};
HostSpec read_host_spec(TableReader& table);

}  // namespace launcher::spec
