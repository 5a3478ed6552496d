// That the guest sees the shape it was given: sockets, dies, cores, threads and L3s. The rule: an AMD guest is told of them by
// topoext alone, whatever the model; where nothing can tell it, that is said.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/plan/parts.hpp"
#include "launcher/spec/rules.hpp"

namespace launcher::parts {

namespace {

bool named(const std::vector<std::string>& features, std::string_view name) {
  return std::ranges::find(features, name) != features.end();
}

// Under TCG: a guest that believes its CPU to be Intel's reads its threads where TCG does tell them.
void add_threads_of_tcg(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why) {
  const CpuSpec& asked = draft.spec.cpu;
  const unsigned threads = draft.plan.placement.guest.threads;
  if (threads < 2) return;
  const bool svm = asked.nested == true || named(asked.add, "svm") || named(asked.require, "svm");
  if (!asked.model && !svm) {
    cpu.set("vendor", "GenuineIntel");
    why.emplace_back("Intel's by name: TCG tells no AMD guest of its threads");
    return;
  }
  const std::string what =
      fmt::format("QEMU's emulation (TCG) does not tell an AMD guest ({}) that a core has {} threads", model, threads);
  if (asked.threads)
    draft.problem("cpu.threads", what + "; wanted 1", "remove threads, or set cpu.model = \"Skylake-Server\"");
  else
    draft.note(what + ": it takes each for a core of its own");
}

}  // namespace

// KVM gives every model the vendor of the host's CPU.
bool is_amd_guest(const Draft& draft, const std::string& model) {
  if (draft.kvm()) return draft.host.is_amd();
  return is_amd_model(model);
}

// A TCG guest whose CPU is Intel's and has dies ends QEMU (10.0 to 11.1: an assertion in encode_topo_cpuid1f), AMD's is not told
// of them: each then is a socket, with the L3 of its own that it was to have.
void fit_shape_to_accel(Draft& draft) {
  topology::GuestTopology& guest = draft.plan.placement.guest;
  if (draft.kvm() || guest.dies == 1) return;
  const bool own_shape = draft.spec.cpu.sockets || draft.spec.cpu.cores;
  (own_shape ? guest.cores : guest.sockets) *= guest.dies;
  guest.dies = 1;
}

void add_shape(Draft& draft, Opts& cpu, const std::string& model, std::vector<std::string>& why) {
  const CpuSpec& asked = draft.spec.cpu;
  const topology::GuestTopology& guest = draft.plan.placement.guest;
  if (!is_amd_guest(draft, model)) return;
  if (!draft.kvm()) return add_threads_of_tcg(draft, cpu, model, why);
  const bool shaped =
      guest.threads > 1 || guest.dies > 1 || asked.l1 || asked.l2 || asked.l3 || asked.host_caches == true;
  if (!shaped || named(asked.remove, "topoext")) return;
  cpu.set("topoext", true);
  draft.plan.features.push_back({"topoext", true});
  // the leaf that tells them, which older models end before
  const bool has_leaf = model == "host" || model == "max" || model.starts_with("EPYC") || model.starts_with("Dhyana");
  if (has_leaf) return;
  cpu.set("min-xlevel", "0x8000001e");
  // (kernel: arch/x86/kernel/cpu/amd.c, cacheinfo.c: from family 17h on)
  draft.note(fmt::format(
      "cpu.model: Linux reads threads, dies and L3s of AMD's CPUs from Zen on; {} is an older one under this host's "
      "name, of which it may take each thread for a core and all for those of one L3. \"host\" and EPYC "
      "models show them",
      model));
}

}  // namespace launcher::parts
