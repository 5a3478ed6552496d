// What a guest that broke out of its devices would have: a user of its own, no rights, no new ones, a filter, and no file but the plan's.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>
#include <filesystem>
#include <set>
#include <sstream>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "topology/words.hpp"

namespace launcher::inline proof {

namespace {

void prove_user(const Subject& subject, Rows& rows) {
  if (!subject.plan.uid) return;
  const std::string where = fmt::format("/proc/{}/status", subject.qemu);
  const std::string uid = std::to_string(*subject.plan.uid);
  for (const char* key : {"Uid", "Gid"}) {
    const auto line = field(subject, where, key);
    std::string is;
    std::istringstream words(line.value_or(""));
    for (std::string word; words >> word;)
      if (!topology::has_word(is, word)) is += (is.empty() ? "" : " ") + word;
    rows.equal(fmt::format("QEMU's {} (real, effective, saved, of files)", key), uid,
               line ? std::optional(is) : std::nullopt, where);
  }
}

std::string status_of(const Subject& subject, const Thread& thread) {
  return fmt::format("/proc/{}/task/{}/status", subject.qemu, thread.tid);
}

// Of every thread, for each could have others.
void prove_rights(const Subject& subject, Rows& rows) {
  struct Due {
    const char* what;
    const char* key;
    const char* wanted;
    bool asked;
  };
  const bool filtered = is_given(subject, "-sandbox", "", "on");
  const std::array<Due, 4> dues = {
      {{"rights of QEMU's threads", "CapEff", "0000000000000000", subject.plan.uid.has_value()},
       {"rights they may take", "CapPrm", "0000000000000000", subject.plan.uid.has_value()},
       {"no new rights by exec", "NoNewPrivs", "1", filtered},
       {"seccomp filter", "Seccomp", "2", filtered}}};
  std::vector<std::string> texts;  // of each thread
  for (const Thread& thread : subject.threads)
    texts.push_back(subject.root.read(status_of(subject, thread)).value_or(""));
  for (const Due& due : dues) {
    if (!due.asked) continue;
    std::string is = due.wanted, where = fmt::format("/proc/{}/task/*/status", subject.qemu);
    bool read = false;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Thread& thread = subject.threads[i];
      if (!thread.in_qemu || thread.name.starts_with("vhost-") || thread.name.starts_with("kvm-") ||
          thread.name.starts_with("iou-"))
        continue;  // the kernel's own, among QEMU's tasks
      const auto value = field_in(texts[i], due.key);
      if (!value) continue;
      read = true;
      if (*value == due.wanted) continue;
      is = fmt::format("{} of {} ({})", *value, thread.role, thread.tid);
      where = status_of(subject, thread);
    }
    rows.equal(due.what, due.wanted, read ? std::optional(is) : std::nullopt, where);
  }
}

// Kinds of files that have no name a plan could hold, or that every process has.
bool is_ordinary(const std::string& target) {
  static constexpr std::array<std::string_view, 9> starts = {"anon_inode:", "socket:[",     "pipe:[",
                                                             "/memfd:",     "/dev/null",    "/dev/kvm",
                                                             "/dev/vhost-", "/dev/net/tun", "/dev/urandom"};
  return std::any_of(starts.begin(), starts.end(), [&](std::string_view start) { return target.starts_with(start); });
}

// Every path that stands in the plan.
void paths_in(const boost::json::value& value, std::set<std::string>& paths) {
  if (value.is_string()) {
    const std::string text(value.get_string());
    if (text.starts_with('/')) paths.insert(text);
  } else if (value.is_array()) {
    for (const boost::json::value& one : value.get_array()) paths_in(one, paths);
  } else if (value.is_object()) {
    for (const auto& [name, member] : value.get_object()) paths_in(member, paths);
  }
}
// And what it opens without a name: the kernel numbers a function's vfio device when that is bound.
void vfio_files(const Subject& subject, std::set<std::string>& paths) {
  for (const Step& step : subject.steps) {
    const auto* open = std::get_if<OpenVfio>(&step);
    if (open == nullptr) continue;
    const std::string function = "/sys/bus/pci/devices/" + open->address;
    if (!open->fd)
      paths.insert("/dev/vfio/" + subject.root.link_name(function + "/iommu_group").value_or(""));
    else
      for (const std::string& name : subject.root.list(function + "/vfio-dev"))
        paths.insert("/dev/vfio/devices/" + name);
  }
}

// The kernel names what is open past symbolic links.
bool is_one_of(const std::set<std::string>& paths, const std::string& target) {
  return paths.contains(target) || std::ranges::any_of(paths, [&](const std::string& path) {
           std::error_code error;
           return std::filesystem::canonical(path, error) == target && !error;
         });
}

void prove_files(const Subject& subject, Rows& rows) {
  const std::string dir = fmt::format("/proc/{}/fd", subject.qemu);
  if (subject.files.empty()) return rows.add("open files", "the plan's", "cannot be read", dir, Outcome::not_checked);
  std::set<std::string> named;
  paths_in(subject.record, named);
  vfio_files(subject, named);
  std::vector<std::string> strange;
  for (const auto& [fd, open] : subject.files) {
    std::string target = open;
    constexpr std::string_view deleted = " (deleted)";
    if (target.ends_with(deleted)) target.resize(target.size() - deleted.size());
    if (is_ordinary(target) || target.starts_with(subject.plan.run_dir + "/")) continue;
    if (is_one_of(named, target)) continue;
    strange.push_back(fmt::format("{}: {}", fd, target));
  }
  std::string is = "the plan's";
  for (std::size_t i = 0; i < strange.size(); ++i) is = (i == 0 ? "" : is + ", ") + strange[i];
  rows.judged("open files", "the plan's", is, dir, strange.empty());
}

}  // namespace

std::vector<Row> prove_security(const Subject& subject) {
  Rows rows("security");
  prove_user(subject, rows);
  prove_rights(subject, rows);
  prove_files(subject, rows);
  return rows.take();
}

}  // namespace launcher::proof
