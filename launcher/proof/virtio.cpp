// What the guest's drivers took of what their devices offer (QMP x-query-virtio-status), and which iothread serves them.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <charconv>
#include <set>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"

namespace launcher::inline proof {

namespace {

// "VIRTIO_F_RING_PACKED: Packed virtqueue layout" -> the word before the colon, of every list below a member
void words_of(const boost::json::value& value, std::set<std::string>& words) {
  if (value.is_string()) {
    const std::string text(value.get_string());
    words.insert(text.substr(0, text.find(':')));
  } else if (value.is_array()) {
    for (const boost::json::value& one : value.get_array()) words_of(one, words);
  } else if (value.is_object()) {
    for (const auto& [name, member] : value.get_object()) words_of(member, words);
  }
}
std::set<std::string> words_of(const boost::json::value& status, const char* member) {
  std::set<std::string> words;
  if (const auto* found = status.as_object().if_contains(member)) words_of(*found, words);
  return words;
}

std::string path_of(const std::string& id) { return "/machine/peripheral/" + id; }

::qmp::Command of_status(const Keys& device) {
  return {"x-query-virtio-status", {{"path", path_of(key(device, "id")) + "/virtio-backend"}}};
}
::qmp::Command of_iothread(const Keys& device) {
  return {"qom-get", {{"path", path_of(key(device, "id"))}, {"property", "iothread"}}};
}

std::vector<Keys> virtio_devices(const Subject& subject) {
  std::vector<Keys> devices = arguments(subject, "-device");
  for (Keys& device : devices)
    if (key(device, "").empty()) device[""] = key(device, "driver");
  std::erase_if(devices,
                [](const Keys& keys) { return !key(keys, "").starts_with("virtio-") || key(keys, "id").empty(); });
  return devices;
}

// QEMU 11.1 was seen to end at x-query-virtio-status, and its guest with it: 7.2 and 10.0 answer. Nothing it can be asked tells.
bool ends_by_asking(const Subject& subject) {
  unsigned major = 0;
  const std::string& version = subject.plan.qemu_version;
  std::from_chars(version.data(), version.data() + version.size(), major);
  return major >= 11;
}

void prove_features(const Subject& subject, const Keys& device, Rows& rows) {
  const std::string id = key(device, "id"), where = "QMP x-query-virtio-status " + path_of(id) + "/virtio-backend";
  const std::string what = id + ": driver";
  if (ends_by_asking(subject))
    return rows.add(what, "ready", "QEMU " + subject.plan.qemu_version + " ends itself at this question", where,
                    Outcome::not_checked);
  const Answer answer = ask(subject, of_status(device));
  if (!answer.value) return rows.add(what, "ready", answer.why, where, Outcome::not_checked);
  const auto state = words_of(*answer.value, "status");
  if (!state.contains("VIRTIO_CONFIG_S_DRIVER_OK"))
    return rows.add(what, "ready", "the guest has no driver on it (yet)", where, Outcome::not_checked);
  const auto offered = words_of(*answer.value, "host-features"), taken = words_of(*answer.value, "guest-features");
  const auto feature = [&](const char* words, const char* name, bool asked) {
    if (!asked) return;
    if (!offered.contains(name)) return rows.add(id + ": " + words, "negotiated", "not offered", where, Outcome::lost);
    rows.judged(id + ": " + words, "negotiated", taken.contains(name) ? "negotiated" : "not taken by the guest", where,
                taken.contains(name));
  };
  feature("packed rings", "VIRTIO_F_RING_PACKED", key(device, "packed") == "on");
  feature("event index", "VIRTIO_RING_F_EVENT_IDX", key(device, "event_idx") != "off");
  feature("several queues", "VIRTIO_NET_F_MQ", key(device, "mq") == "on");
  const std::string queues = key(device, "num-queues");
  feature("several queues", "VIRTIO_BLK_F_MQ",
          key(device, "").starts_with("virtio-blk") && !queues.empty() && queues != "1");
  feature("MTU", "VIRTIO_NET_F_MTU", !key(device, "host_mtu").empty());
}

void prove_iothread(const Subject& subject, const Keys& device, Rows& rows) {
  const std::string iothread = key(device, "iothread"), id = key(device, "id");
  if (iothread.empty()) return;
  const Answer answer = ask(subject, of_iothread(device));
  const std::string where = "QMP qom-get " + path_of(id);
  if (!answer.value || !answer.value->is_string())
    return rows.add(id + ": iothread", iothread, answer.why, where, Outcome::not_checked);
  const std::string is(answer.value->get_string());
  rows.judged(id + ": iothread", iothread, is, where, is == iothread || is == "/objects/" + iothread);
}

}  // namespace

std::vector<::qmp::Command> questions_of_virtio(const Subject& subject) {
  std::vector<::qmp::Command> all;
  for (const Keys& device : virtio_devices(subject)) {
    if (!ends_by_asking(subject)) all.push_back(of_status(device));
    if (!key(device, "iothread").empty()) all.push_back(of_iothread(device));
  }
  return all;
}

std::vector<Row> prove_virtio(const Subject& subject) {
  Rows rows("devices");
  for (const Keys& device : virtio_devices(subject)) {
    prove_features(subject, device, rows);
    prove_iothread(subject, device, rows);
  }
  return rows.take();
}

}  // namespace launcher::proof
