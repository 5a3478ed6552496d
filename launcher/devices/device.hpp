// Device: one alternative per kind. The rule: a kind is one file pair under devices/ with its struct, Facts, kind, read(),
// look_at(), assumed(), needs() and plan_device(); this variant makes the compiler list what a new kind lacks.
#pragma once

#include <boost/mp11/algorithm.hpp>
#include <variant>

#include "launcher/devices/agent.hpp"
#include "launcher/devices/balloon.hpp"
#include "launcher/devices/cdrom.hpp"
#include "launcher/devices/cloud_init.hpp"
#include "launcher/devices/console.hpp"
#include "launcher/devices/credential.hpp"
#include "launcher/devices/disk.hpp"
#include "launcher/devices/display.hpp"
#include "launcher/devices/guest.hpp"
#include "launcher/devices/nic.hpp"
#include "launcher/devices/nvdimm.hpp"
#include "launcher/devices/pci.hpp"
#include "launcher/devices/rng.hpp"
#include "launcher/devices/serial.hpp"
#include "launcher/devices/share.hpp"
#include "launcher/devices/smbios.hpp"
#include "launcher/devices/tpm.hpp"
#include "launcher/devices/usb.hpp"
#include "launcher/devices/vsock.hpp"
#include "launcher/devices/watchdog.hpp"

namespace launcher::inline devices {

using Device =
    std::variant<Disk, Nic, Share, Console, Vsock, Rng, Tpm, Watchdog, Agent, Balloon, Nvdimm, Display, Smbios,
                 Credential, Pci, Usb, Guest, CloudInit, Cdrom, Serial>;  // devices are planned in this order

// What the machine answered about one device: its kind's Facts, from look_at(), or assumed() for another machine.
template <class Kind>
using FactsOf = typename Kind::Facts;
using DeviceFacts = boost::mp11::mp_transform<FactsOf, Device>;

// f(device, facts), both of the same kind.
template <class F>
auto with_facts(const Device& device, const DeviceFacts& facts, const F& f) {
  return std::visit([&](const auto& one) { return f(one, std::get<FactsOf<std::decay_t<decltype(one)>>>(facts)); },
                    device);
}

}  // namespace launcher::devices
