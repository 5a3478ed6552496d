// What a record of a run says beside a lock: what is in effect, as `verify` reads it, and the guest's CPU after expansion.
#include "launcher/record/run_part.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "qmp/commands.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline record {

namespace {

constexpr std::chrono::seconds qmp_wait{5};

// QEMU's words of CPUID for vCPU 0; null where it does not say.
boost::json::value guest_cpu(::qmp::Client& monitor) {
  for (const ::qmp::Vcpu& vcpu : ::qmp::query_cpus_fast(monitor, qmp_wait)) {
    if (vcpu.index != 0) continue;
    ::qmp::Command get{"qom-get"};
    get.arguments = {{"path", vcpu.qom_path}, {"property", "feature-words"}};
    return monitor.execute(get, qmp_wait);
  }
  return nullptr;
}

}  // namespace

RunPart look_at_run(const VmDir& dir, ::qmp::Client* monitor, std::int64_t started) {
  RunPart part{started, {}, nullptr};
  for (const Row& row : prove(look_at(dir, monitor))) part.in_effect.push_back(topology::json::write(row));
  try {
    if (monitor != nullptr) part.guest_cpu = guest_cpu(*monitor);
  } catch (const ::qmp::Error&) {
    // an older or another QEMU has no such property: null says so
  }
  return part;
}

}  // namespace launcher::record
