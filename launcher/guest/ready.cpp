#include "launcher/guest/ready.hpp"

#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "launcher/devices/vsock.hpp"
#include "launcher/guest/agent.hpp"
#include "launcher/guest/route.hpp"

namespace launcher::inline guest {

namespace {

using By = ReadySpec::By;
using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds moment{500};

bool wants(By by, By one) { return by == one || by == By::guest; }

Fd listen_for(std::uint32_t cid) {
  Fd fd(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = notify_port(cid);
  const auto* any = reinterpret_cast<const sockaddr*>(&address);
  if (!fd || bind(fd.get(), any, sizeof address) < 0 || listen(fd.get(), 4) < 0) return {};
  return fd;
}

std::uint32_t cid_of_peer(int connection) {
  sockaddr_vm from{};
  socklen_t size = sizeof from;
  const bool known = getpeername(connection, reinterpret_cast<sockaddr*>(&from), &size) == 0;
  return known && from.svm_family == AF_VSOCK ? from.svm_cid : VMADDR_CID_ANY;
}

}  // namespace

std::optional<std::string> ready_now(By by, const Access& access, const std::filesystem::path& run_dir) {
  if (wants(by, By::agent) && access.agent && reach_agent(run_dir, moment)) return "its agent answers";
  if (wants(by, By::ssh) && !access.keys.empty())
    for (const Route& route : routes(access, run_dir))
      if (sshd_answers(route, patience_with_sshd)) return "its sshd answers at " + route.words();
  return std::nullopt;
}

ReadyWatch::ReadyWatch(const ReadySpec& ready, Access access, std::filesystem::path run_dir, Told told)
    : ready_(ready), access_(std::move(access)), run_dir_(std::move(run_dir)), told_(std::move(told)) {
  // whoever connects may be any guest or program: only this VM's CID counts
  if (wants(ready_.by, By::notify) && access_.cid)
    notified_.emplace(listen_for(*access_.cid),
                      [cid = *access_.cid](int connection) { return cid_of_peer(connection) == cid; });
  thread_ = std::jthread([this](const std::stop_token& stop) {
    const Clock::time_point end = Clock::now() + std::chrono::seconds(ready_.timeout);
    std::optional<std::string> how;
    while (!stop.stop_requested() && Clock::now() < end) {
      try {
        how = look();
        if (how) break;
      } catch (const std::exception&) {
        // a guest that answers nonsense has not said so
      }
      std::this_thread::sleep_for(moment);
    }
    if (notified_) notified_->stop();
    if (!stop.stop_requested()) told_(how);
  });
}

void ReadyWatch::heard(const std::string& console) {
  if (ready_.pattern.empty() || seen_) return;
  const std::lock_guard guard(mutex_);
  words_ += console;
  if (words_.find(ready_.pattern) != std::string::npos) seen_ = true;
  if (words_.size() > ready_.pattern.size()) words_.erase(0, words_.size() - ready_.pattern.size());
}

std::optional<std::string> ReadyWatch::look() {
  if (seen_) return "its console says so";
  if (notified_ && notified_->is_ready()) return "its systemd says so";
  return ready_now(ready_.by, access_, run_dir_);
}

}  // namespace launcher::guest
