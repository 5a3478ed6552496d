// Reads what is kept of a VM, and plans what it is for: what does not fit this spec is refused with the way out.
#include "launcher/plan/kept_state.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <stdexcept>

#include "launcher/plan/parts.hpp"
#include "launcher/steps/journal.hpp"
#include "launcher/steps/records.hpp"
#include "launcher/text/printable.hpp"
#include "topology/struct_json.hpp"

namespace launcher::inline plan {

BOOST_DESCRIBE_STRUCT(StateMaker, (), (uuid, secure_boot, firmware, disks))

// MdeModulePkg's authenticated variables: a header of 60 bytes (0x55aa, its state, ..., the vendor's GUID), then the name in UTF-16.
// State 0x3f: it is there, and not about to be deleted.
bool has_platform_key(std::string_view variables) {
  static constexpr std::string_view global("\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c", 16);
  static constexpr std::string_view name("P\0K\0\0\0", 6), begin("\xaa\x55\x3f", 3);
  constexpr std::size_t to_guid = 44;
  for (std::size_t at = variables.find(global); at != variables.npos; at = variables.find(global, at + 1))
    if (at >= to_guid && variables.substr(at + global.size()).starts_with(name) &&
        variables.substr(at - to_guid).starts_with(begin))
      return true;
  return false;
}

KeptState look_at_kept_state(const std::filesystem::path& directory) {
  KeptState kept;
  std::error_code none;
  kept.tpm = std::filesystem::is_directory(directory / tpm_directory, none);
  if (const auto variables = records::slurp(directory / variables_file)) {
    kept.variables = true;
    kept.variables_size = variables->size();
    kept.platform_key = has_platform_key(*variables);
  }
  // QEMU writes whole clusters there, uncompressed: the store's own bytes
  if (const auto image = records::slurp(directory / variables_image)) {
    kept.platform_key = has_platform_key(*image) && (!kept.variables || kept.platform_key);
    kept.variables = true;
    kept.variables_size = 0;
  }
  const auto record = records::read(directory / maker_file);
  try {
    if (record && !record->is_null()) kept.maker = topology::json::read<StateMaker>(*record);
  } catch (const std::invalid_argument&) {
    // as if there were none: then the variables themselves have to say what they are
  }
  return kept;
}

}  // namespace launcher::plan

namespace launcher::parts {

namespace {

bool has_tpm(const Draft& draft) {
  return std::ranges::any_of(draft.spec.devices, [](const Device& one) { return std::holds_alternative<Tpm>(one); });
}

std::vector<std::string> disks_of(const Spec& spec) {
  std::vector<std::string> paths;
  for (const Device& device : spec.devices)
    if (const auto* disk = std::get_if<Disk>(&device)) paths.push_back(disk->path);
  return paths;
}

// Have they been used with Secure Boot only?
bool always_secure(const KeptState& kept) {
  if (!kept.variables) return true;  // they are still to be made
  return kept.maker ? kept.maker->secure_boot : kept.platform_key;
}

void check_variables(Draft& draft) {
  const KeptState& kept = draft.facts.kept;
  if (!draft.spec.boot.uefi || !kept.variables) return;
  const std::string forget =
      fmt::format("`vmrun forget {}` removes them with all else that is kept of it, and the next start makes new ones",
                  draft.spec.name);
  if (draft.spec.boot.secure_boot && !(always_secure(kept) && kept.platform_key))
    draft.problem(
        "boot.secure_boot",
        fmt::format("true, but the UEFI variables that are kept of VM '{}' {}; wanted ones made with Secure Boot, "
                    "and never used without",
                    draft.spec.name,
                    always_secure(kept) || kept.platform_key ? "were used without Secure Boot"
                                                             : "were made without: no keys are enrolled"),
        forget + "; or set secure_boot = false");
  if (draft.facts.uefi_variables_size != 0 && kept.variables_size != 0 &&
      draft.facts.uefi_variables_size != kept.variables_size)
    draft.problem("boot.firmware",
                  fmt::format("the UEFI variables that are kept of VM '{}' have {} bytes, and this firmware's have {}",
                              draft.spec.name, kept.variables_size, draft.facts.uefi_variables_size),
                  forget);
}

void check_identity(Draft& draft) {
  const KeptState& kept = draft.facts.kept;
  if (!kept.maker || !(kept.variables || kept.tpm)) return;
  const std::vector<std::string> ours = disks_of(draft.spec);
  const auto is_ours = [&](const std::string& path) { return std::ranges::find(ours, path) != ours.end(); };
  const bool other_disks =
      !ours.empty() && !kept.maker->disks.empty() && std::ranges::none_of(kept.maker->disks, is_ours);
  if (!other_disks && kept.maker->uuid == draft.plan.uuid) return;
  draft.problem(
      "name",
      fmt::format("the {} that {} kept under it {} of another VM: {}",
                  kept.variables ? "UEFI variables" : "TPM's memory", kept.variables ? "are" : "is",
                  kept.variables ? "are" : "is",
                  other_disks ? fmt::format("one with the disks '{}'",
                                            printable(fmt::format("{}", fmt::join(kept.maker->disks, "', '"))))
                              : "its uuid was " + printable(kept.maker->uuid)),
      fmt::format("`vmrun forget {0}` removes what is kept, `vmrun forget {0} --maker` lets this VM take it over; or "
                  "give this one another name",
                  draft.spec.name));
}

}  // namespace

void add_kept_state(Draft& draft) {
  const bool uefi = draft.spec.boot.uefi && draft.facts.uefi;
  if (!uefi && !has_tpm(draft)) return;
  check_variables(draft);
  check_identity(draft);
  const KeptState& kept = draft.facts.kept;
  StateMaker maker{.uuid = draft.plan.uuid,
                   .secure_boot = (!uefi || draft.spec.boot.secure_boot) && always_secure(kept),
                   .firmware = kept.variables && kept.maker ? kept.maker->firmware : "",
                   .disks = disks_of(draft.spec)};
  if (maker.firmware.empty() && uefi) maker.firmware = draft.facts.uefi->vars_template;
  if (maker.disks.empty() && kept.maker) maker.disks = kept.maker->disks;
  boost::json::object record{{"version", record_version}};
  const boost::json::value described = topology::json::write(maker);
  for (const auto& member : described.as_object()) record.insert(member);
  draft.steps.push_back({KeepText{fmt::format("{}/{}/{}", draft.facts.state_base, draft.spec.name, maker_file),
                                  boost::json::serialize(record) + "\n"},
                         "so that what is kept serves no other VM of this name, nor less safely than it was made",
                         uefi ? "spec boot.firmware" : "spec tpm"});
}

}  // namespace launcher::parts
