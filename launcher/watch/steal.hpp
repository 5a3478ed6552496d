// Whether the host of this host tells what time it takes. The rule: where it does not, a delay that nothing here explains is no proof.
#pragma once

#include "topology/sysfs.hpp"

namespace launcher::inline watch {

// True on a machine that is no guest, too. Source: CPUID leaves from 0x40000000 on (kernel: Documentation/virt/kvm/x86/cpuid.rst), the
// boot line's no-steal-acc, and /proc/stat, where a time that was told once is one that is told.
bool is_steal_told(const topology::Sysfs& root);

}  // namespace launcher::watch
