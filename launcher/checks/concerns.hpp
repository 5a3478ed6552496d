// Which VMs a check is about; the last column of a row.
#pragma once

#include "launcher/checks/audit.hpp"

namespace launcher::concerns {

inline bool every(const AuditedVm&) { return true; }
inline bool kvm(const AuditedVm& vm) { return vm.kvm; }
inline bool pinned(const AuditedVm& vm) { return vm.pinned; }
inline bool pinned_kvm(const AuditedVm& vm) { return vm.pinned && vm.kvm; }
inline bool huge(const AuditedVm& vm) { return vm.huge(); }
inline bool base_pages(const AuditedVm& vm) { return !vm.huge(); }
inline bool taps(const AuditedVm& vm) { return vm.taps(); }
inline bool nets(const AuditedVm& vm) { return !vm.nics.empty(); }
inline bool user_net(const AuditedVm& vm) { return vm.user_net(); }
inline bool disks(const AuditedVm& vm) { return !vm.disks.empty(); }
inline bool passthrough(const AuditedVm& vm) { return !vm.passed_through.empty(); }

}  // namespace launcher::concerns
