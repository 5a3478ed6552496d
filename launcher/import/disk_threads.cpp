// The threads that serve a domain's disk.
#include <algorithm>

#include "launcher/import/disk_parts.hpp"

namespace launcher::inline import {

namespace {

// What libvirt says of the thread stands on the first disk that uses it.
void thread_of_pool(DiskWalk& of, const std::string& id) {
  const XmlElement* ids = of.walk.root.find("iothreadids");
  if (ids == nullptr || !of.walk.pools.emplace(id, of.handle).second) return;
  for (const XmlElement* one : ids->all("iothread")) {
    if (!of.walk.at(*one, "@id").is(id)) continue;
    for (const auto& [way, key, most] : {std::tuple("@thread_pool_min", "thread_pool_min", 1024u),
                                         std::tuple("@thread_pool_max", "thread_pool_max", 1024u),
                                         std::tuple("poll/@max", "poll_max_ns", 1'000'000'000u)}) {
      const Leaf leaf = of.walk.at(*one, way);
      const auto value = leaf.number();
      const bool fits = value && *value <= most;
      if (fits) of.walk.spec.number(of.handle, key, *value);
      leaf.kept_if(fits, of.key(key), "more than QEMU's bounds here: its own");
    }
    for (const char* way : {"poll/@grow", "poll/@shrink"}) of.walk.at(*one, way).tell(Verb::dropped, "QEMU's own");
  }
}

void take_thread(DiskWalk& of, const Leaf& thread) {
  if (!thread.there()) return;
  of.walk.spec.text(of.handle, "iothread_pool", "io" + std::to_string(thread.number().value_or(1)));
  thread.kept(of.key("iothread_pool"));
  thread_of_pool(of, thread.value());
}

const XmlElement* controller_of(const DiskWalk& of) {
  const XmlElement* devices = of.walk.root.find("devices");
  const std::uint64_t number = of.at("address/@controller").number().value_or(0);
  for (const XmlElement* one : devices->all("controller"))
    if (of.walk.at(*one, "@type").is("scsi") && of.walk.at(*one, "@index").number().value_or(0) == number) return one;
  return nullptr;
}

// Queues and rings are the controller's; vmrun has them on the first disk that hangs on it.
void scsi_controller(DiskWalk& of) {
  const XmlElement* controller = of.at("target/@bus").is("scsi") ? controller_of(of) : nullptr;
  if (controller == nullptr) return;
  const auto at = [&](const char* way) { return of.walk.at(*controller, way); };
  const Leaf model = at("@model"), queues = at("driver/@queues"), packed = at("driver/@packed");
  const bool virtio = model.value().starts_with("virtio");
  model.tell(virtio ? Verb::kept : Verb::changed,
             virtio ? "a controller for each disk, or one for those of an iothread_pool"
                    : "virtio-scsi in its place: the guest needs its driver (Linux has it; Windows: virtio-win)");
  if (!virtio) return;
  take_thread(of, at("driver/@iothread"));
  if (!of.walk.pools.emplace("scsi " + at("@index").value(), of.handle).second) return;
  const auto many = queues.number();
  const bool fits = many && *many >= 1 && *many <= of.walk.vcpus;
  if (fits) of.walk.spec.number(of.handle, "queues", *many);
  queues.tell(fits ? Verb::kept : Verb::changed,
              fits ? of.key("queues") : "queues = \"auto\": one for each vCPU; more would stay idle");
  of.walk.spec.flag(of.handle, "packed", packed.on());
  packed.tell_default(Verb::kept, of.key("packed"));
}

}  // namespace

void threads_of(DiskWalk& of) {
  scsi_controller(of);
  const Leaf thread = of.at("driver/@iothread");
  const XmlElement* mapped = of.disk.find("driver/iothreads");
  take_thread(of, thread);
  if (mapped == nullptr) return;
  const std::size_t count = std::clamp<std::size_t>(mapped->all("iothread").size(), 1, 64);
  const bool fits = of.virtio && count <= of.walk.vcpus;
  if (fits) of.walk.spec.number(of.handle, "iothreads", count);
  const bool by_hand = mapped->find("iothread/queue") != nullptr;
  of.walk.tell_all(
      *mapped, fits && !by_hand ? Verb::kept : Verb::changed,
      fits ? of.key("iothreads") + ": the queues are shared out among them, each in turn" : "an I/O thread of its own");
}

}  // namespace launcher::import
