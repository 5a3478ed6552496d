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
      if (is.find(word) == std::string::npos || is.empty()) is += (is.empty() ? "" : " ") + word;
    rows.equal(fmt::format("QEMU's {} (real, effective, saved, of files)", key), uid,
               line ? std::optional(is) : std::nullopt, where);
  }
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
  for (const Due& due : dues) {
    if (!due.asked) continue;
    std::string is = due.wanted, where = fmt::format("/proc/{}/task/*/status", subject.qemu);
    bool read = false;
    for (const Thread& thread : subject.threads) {
      if (!thread.in_qemu || thread.name.starts_with("vhost-") || thread.name.starts_with("kvm-") ||
          thread.name.starts_with("iou-"))
        continue;  // the kernel's own, among QEMU's tasks
      const std::string path = fmt::format("/proc/{}/task/{}/status", subject.qemu, thread.tid);
      const auto value = field(subject, path, due.key);
      if (!value) continue;
      read = true;
      if (*value == due.wanted) continue;
      is = fmt::format("{} of {} ({})", *value, thread.role, thread.tid);
      where = path;
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

// Every path that stands in the plan, as the kernel names what is open: past symbolic links.
void paths_in(const boost::json::value& value, std::set<std::string>& paths) {
  if (value.is_string()) {
    const std::string text(value.get_string());
    if (!text.starts_with('/')) return;
    std::error_code error;
    paths.insert(text);
    if (const auto real = std::filesystem::canonical(text, error); !error) paths.insert(real.string());
  } else if (value.is_array()) {
    for (const boost::json::value& one : value.get_array()) paths_in(one, paths);
  } else if (value.is_object()) {
    for (const auto& [name, member] : value.get_object()) paths_in(member, paths);
  }
}
std::set<std::string> files_of(const Subject& subject) {
  std::set<std::string> paths;
  paths_in(subject.record, paths);
  return paths;
}

void prove_files(const Subject& subject, Rows& rows) {
  const std::string dir = fmt::format("/proc/{}/fd", subject.qemu);
  const std::vector<std::string> fds = subject.root.list(dir);
  if (fds.empty()) return rows.add("open files", "the plan's", "cannot be read", dir, Outcome::not_checked);
  const std::set<std::string> named = files_of(subject);
  std::vector<std::string> strange;
  for (const std::string& fd : fds) {
    std::string target = target_of(subject, fd);
    constexpr std::string_view deleted = " (deleted)";
    if (target.ends_with(deleted)) target.resize(target.size() - deleted.size());
    if (target.empty() || is_ordinary(target) || target.starts_with(subject.plan.run_dir + "/")) continue;
    if (named.contains(target)) continue;
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
