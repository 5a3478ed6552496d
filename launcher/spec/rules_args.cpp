// extra_args: read as QEMU reads them (system/vl.c, lookup_opt), and what is vmrun's own refused.
#include <fmt/format.h>

#include <algorithm>

#include "launcher/spec/qemu_options.hpp"
#include "launcher/spec/rules_parts.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

namespace {

// "--smp", "-smp": their name; "": not an option. QEMU takes one or two dashes, and whole names only.
std::string_view name_of(std::string_view argument) {
  if (!argument.starts_with('-')) return "";
  argument.remove_prefix(argument.starts_with("--") ? 2 : 1);
  return argument;
}

// "-m 4G", "-m=4G": two in one.
void refuse_two_in_one(Rules& rules, const std::string& key, const std::string& argument, std::size_t end) {
  const std::string option = printable(argument.substr(0, end)), value = printable(argument.substr(end + 1));
  rules.add(key, fmt::format("\"{}\" is an option and its value in one; wanted two strings", printable(argument)),
            fmt::format("write \"{}\", \"{}\"", option, value));
}

void refuse_own(Rules& rules, const std::string& key, std::string_view name, const char* instead) {
  rules.add(key, fmt::format("-{} is what vmrun decides itself; wanted other options only", name), instead);
}

// How many arguments the option at i has taken, itself among them.
std::size_t check_option(Rules& rules, std::size_t i) {
  const std::vector<std::string>& all = rules.spec.extra_args;
  const std::string key = fmt::format("extra_args[{}]", i);
  const std::string_view whole = name_of(all[i]), name = whole.substr(0, whole.find_first_of(" =,"));
  const QemuOption* option = find_qemu_option(name);
  if (option != nullptr && *option->instead != '\0') {
    refuse_own(rules, key, name, option->instead);
  } else if (name.size() != whole.size()) {
    refuse_two_in_one(rules, key, all[i], all[i].size() - whole.size() + name.size());
    return 1;
  } else if (name.empty() || name.starts_with('-')) {
    rules.add(key, fmt::format("\"{}\" is no option of QEMU's; wanted one such as \"-device\"", printable(all[i])),
              "write it with one dash or two, or remove it");
    return 1;
  }
  if (name.size() != whole.size() || i + 1 == all.size()) {
    if (option != nullptr && option->takes_value && *option->instead == '\0')
      rules.add(key, fmt::format("-{} has no value behind it; wanted one, as the next string", name),
                fmt::format("write \"-{}\", \"...\"", name));
    return 1;
  }
  if (option == nullptr) return all[i + 1].starts_with('-') ? 1 : 2;
  if (!option->takes_value) return 1;
  if (const OwnValue own = own_value(name, all[i + 1]); !own.what.empty())
    rules.add(fmt::format("extra_args[{}]", i + 1),
              fmt::format("-{} {}: {} is what vmrun decides itself; wanted other values only", name,
                          printable(all[i + 1]), own.what),
              std::string(own.instead));
  return 2;
}

}  // namespace

void check_extra_args(Rules& rules) {
  const std::vector<std::string>& all = rules.spec.extra_args;
  for (std::size_t i = 0; i < all.size();) {
    const std::string key = fmt::format("extra_args[{}]", i);
    if (!rules.sound(key)) return;  // which of the next is an option, and which a value, is not known
    if (all[i].empty())
      rules.add(key, "is empty; wanted an option or its value", "remove it");
    else if (!all[i].starts_with('-'))
      rules.add(
          key,
          fmt::format("\"{}\" is no option, nor the value of one: QEMU would take it for a disk's image; wanted an "
                      "option before it",
                      printable(all[i])),
          "put its option before it, or add it as the path of a [[disk]]");
    else {
      i += check_option(rules, i);
      continue;
    }
    ++i;
  }
}

}  // namespace launcher::spec
