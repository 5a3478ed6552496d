// See argv.hpp.
#include "launcher/import/argv.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "launcher/spec/qemu_options.hpp"
#include "launcher/spec/read_spec.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline import {

namespace {

// Options whose value is a list of parts, and the name of the part that stands first without one (QEMU's implied_opt_name).
constexpr std::pair<const char*, const char*> lists[] = {{"device", "driver"},
                                                         {"machine", "type"},
                                                         {"m", "size"},
                                                         {"smp", "cpus"},
                                                         {"netdev", "type"},
                                                         {"chardev", "backend"},
                                                         {"object", "qom-type"},
                                                         {"numa", "type"},
                                                         {"boot", "order"},
                                                         {"name", "guest"},
                                                         {"accel", "accel"},
                                                         {"tpmdev", "type"},
                                                         {"cpu", "model"},
                                                         {"drive", "file"},
                                                         {"vnc", "address"},
                                                         {"display", "type"},
                                                         {"spice", "port"},
                                                         {"nic", "type"},
                                                         {"net", "type"},
                                                         {"mon", "chardev"},
                                                         {"smbios", "file"},
                                                         {"fsdev", "fsdriver"},
                                                         {"virtfs", "fsdriver"},
                                                         {"sandbox", "enable"},
                                                         {"overcommit", "mem-lock"},
                                                         {"action", "reboot"},
                                                         {"rtc", "base"},
                                                         {"blockdev", "driver"},
                                                         {"msg", "timestamp"},
                                                         {"iscsi", "initiator-name"},
                                                         {"audiodev", "driver"},
                                                         {"run-with", "user"}};

const char* implied(std::string_view name) {
  for (const auto& [option, first] : lists)
    if (name == option) return first;
  return nullptr;
}

// The part that says what kind of thing an option makes.
bool has_kind(std::string_view name) {
  return name == "device" || name == "object" || name == "netdev" || name == "chardev" || name == "blockdev" ||
         name == "nic" || name == "net" || name == "fsdev" || name == "virtfs" || name == "tpmdev";
}

bool is_secret(std::string_view name, std::string_view kind, std::string_view key) {
  return (name == "object" && kind.starts_with("secret") && key == "data") || key == "password";
}

}  // namespace

ArgvOption::ArgvOption(std::string named, std::string text, bool has_value, unsigned at)
    : name(std::move(named)), value(std::move(text)), line(at) {
  const char* first = implied(name);
  if (first == nullptr) {
    members.emplace_back("", has_value ? value : "");
    return;
  }
  members = members_of(value);
  if (members.empty()) {
    members.emplace_back("", value);
    broken_ = value.starts_with('{');  // JSON that cannot be read
  }
  for (auto& [key, one] : members)
    if (key.empty()) key = first;
  if (has_kind(name)) kind_ = get(first);
}

// The later part wins: the earlier one of its name goes.
Members ArgvOption::add(const std::string& text) {
  ArgvOption more(name, text, true, line);
  Members gone;
  for (auto& part : more.members) {
    const auto [first, last] =
        std::ranges::stable_partition(members, [&](const auto& one) { return one.first != part.first; });
    gone.insert(gone.end(), first, last);
    members.erase(first, last);
    members.push_back(std::move(part));
  }
  return gone;
}

bool ArgvOption::has(std::string_view key) const {
  return std::ranges::any_of(members, [&](const auto& one) { return one.first == key; });
}

bool ArgvOption::on(std::string_view key) const {
  const std::string text = get(key);
  return text == "on" || text == "yes" || text == "true" || text == "1";
}

void ArgvOption::tell(std::string_view key, Verb verb, const std::string& words) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i].first != key) continue;
    const auto [place, fresh] = told_.emplace(i, Told{verb, words});
    if (!fresh && verb > place->second.verb) place->second = {verb, words};
  }
}

void ArgvOption::tell_rest(Verb verb, const std::string& words) {
  for (std::size_t i = 0; i < members.size(); ++i) told_.emplace(i, Told{verb, words});
}

void ArgvOption::report_to(Report& report) const {
  const std::string shown = "-" + name + (kind_.empty() ? "" : " " + kind_);
  const char* first = implied(name);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto& [key, one] = members[i];
    const bool head = key.empty() || (first != nullptr && key == first);
    ReportRow row{head ? shown : fmt::format("{},{}", shown, key), line, is_secret(name, kind_, key) ? "..." : one,
                  Verb::dropped, "unknown: vmrun's import has no word of it"};
    if (head && !kind_.empty()) row.value.clear();
    if (const auto found = told_.find(i); found != told_.end()) {
      row.verb = found->second.verb;
      row.words = found->second.words;
    } else if (const ArgvRow* known = find_argv_row(name, kind_, key); known != nullptr) {
      row.verb = known->verb;
      row.words = known->words;
    }
    report.push_back(std::move(row));
  }
}

namespace {

// Several of these are one, part by part (QEMU's merge_lists).
bool merges(std::string_view name) { return name == "machine" || name == "m" || name == "smp" || name == "boot"; }

std::string full_name(std::string_view word) {
  word.remove_prefix(word.starts_with("--") ? 2 : 1);
  return word == "M" ? "machine" : std::string(word);
}

}  // namespace

ArgvWalk::ArgvWalk(const QemuCall& call, const ImportOptions& asked) : options(asked) {
  for (const ShellWord& word : call.before)
    stray(word, Verb::dropped, "in front of QEMU: vmrun places, limits and gives rights by itself");
  for (std::size_t i = 0; i < call.words.size(); ++i) {
    const ShellWord& word = call.words[i];
    if (!word.text.starts_with('-') || word.text.size() < 2) {
      if (word.unknown.empty() && !word.text.empty() && word.text != "-")
        all.emplace_back("hda", word.text, true, word.line);  // as QEMU takes it
      else
        stray(word, Verb::dropped, "no option, and what it is only the shell can say");
      continue;
    }
    const std::string name = full_name(word.text);
    const QemuOption* known = find_qemu_option(name);
    const bool more = i + 1 < call.words.size();
    const bool takes = more && (known != nullptr ? known->takes_value : !call.words[i + 1].text.starts_with('-'));
    const bool readable = !takes || call.words[i + 1].unknown.empty();
    ArgvOption* before = merges(name) && readable ? find(name) : nullptr;
    if (before != nullptr)
      for (const auto& [key, value] : before->add(takes ? call.words[i + 1].text : ""))
        strays_.push_back(
            {fmt::format("-{},{}", name, key), before->line, value, Verb::changed, "a later one takes its place"});
    else
      all.emplace_back(name, takes ? call.words[i + 1].text : "", takes, word.line);
    for (const ShellWord* part : {&word, takes ? &call.words[i + 1] : &word})
      if (!part->unknown.empty())
        (before != nullptr ? *before : all.back())
            .tell_rest(Verb::dropped, fmt::format("{} is known to a shell only: write its value there", part->unknown));
    i += takes ? 1 : 0;
  }
}

ArgvOption* ArgvWalk::find(std::string_view name, std::string_view key, std::string_view value) {
  for (ArgvOption& one : all)
    if (one.name == name && (key.empty() || one.is(key, value))) return &one;
  return nullptr;
}

ArgvOption* ArgvWalk::by_id(std::string_view name, std::string_view id) {
  if (id.empty()) return nullptr;
  if (ArgvOption* found = find(name, "id", id)) return found;
  return find(name, "node-name", id);
}

std::vector<ArgvOption*> ArgvWalk::every(std::string_view name) {
  std::vector<ArgvOption*> found;
  for (ArgvOption& one : all)
    if (one.name == name) found.push_back(&one);
  return found;
}

Report ArgvWalk::finish() {
  Report report = strays_;
  for (ArgvOption& one : all)
    if (one.broken()) one.refuse("no JSON that can be read; wanted it as it is given to QEMU, with its quotes");
  for (const ArgvOption& one : all) one.report_to(report);
  report.insert(report.end(), missing_.begin(), missing_.end());
  for (ReportRow& row : report) {
    row.words = spec.renamed(std::move(row.words));
    if (row.absent) row.path = spec.renamed(std::move(row.path));
  }
  return report;
}

std::expected<Imported, std::string> import_argv(std::string_view text, const ImportOptions& options) {
  const auto call = find_qemu_call(text);
  if (!call) return std::unexpected(call.error());
  ArgvWalk walk(*call, options);
  const std::string program = call->program.substr(call->program.rfind('/') + 1);
  const bool x86 =
      !program.starts_with("qemu-system-") || program == "qemu-system-x86_64" || program == "qemu-system-i386";
  walk.tcg = program != "kvm" && program != "qemu-kvm";
  if (!x86)
    return std::unexpected(fmt::format("{} is another architecture's; vmrun runs x86-64 only", printable(program)));
  for (const auto step : {argv_general, argv_cpu, argv_memory, argv_firmware, argv_disks, argv_networks, argv_screen,
                          argv_devices, argv_rest})
    step(walk);
  Imported result;
  result.report = walk.finish();
  result.state.variables = walk.variables;
  if (walk.spec.find("tpm", "model") != nullptr) result.state.tpm = options.tpm_state;
  complete(result, walk.spec);
  return result;
}

}  // namespace launcher::import
