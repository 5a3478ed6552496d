// Every option of QEMU's that extra_args may name, and what becomes of it. The rule: a test holds the table to the -help of each
// QEMU at hand, so that a new one is seen before somebody uses it.
#pragma once

#include <span>
#include <string_view>

namespace launcher::inline spec {

struct QemuOption {
  const char* name;     // without its dash
  bool takes_value;     // the next argument is its own
  const char* instead;  // what to do instead, where vmrun decides it; "": it is passed on
};

std::span<const QemuOption> qemu_options();
const QemuOption* find_qemu_option(std::string_view name);  // nullptr: not known

// What of this option's value vmrun decides: why, and what to do instead; "": nothing.
struct OwnValue {
  std::string_view what, instead;
};
OwnValue own_value(std::string_view option, std::string_view value);

}  // namespace launcher::spec
