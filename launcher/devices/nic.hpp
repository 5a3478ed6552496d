// A network card: virtio-net over a tap (with vhost), a macvtap, passt, another process (vhost-user), a vDPA device or
// QEMU's own user networking. Owns PCI slots 0x10-0x17.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"
#include "launcher/text/problem.hpp"
#include "topology/bytes.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline facts {
struct HostConfig;
}  // namespace launcher::facts

namespace launcher::inline devices {

struct DeviceContext;

// Ports of the host that lead into the guest: "tcp:2222:22", "udp:127.0.0.1:5353:53", "tcp:[::1]:8000-8010:80-90".
struct Forward {
  bool udp = false;
  std::string address;  // of the host, IPv4 or IPv6 without brackets; "": all
  unsigned host_port = 0, guest_port = 0;
  unsigned count = 1;  // of ports, in a row
  bool ipv6() const { return address.find(':') != address.npos; }
  friend bool operator==(const Forward&, const Forward&) = default;
};

struct Nic {
  enum class Model { virtio, e1000e };
  enum class Mode { user, tap, macvtap, passt, vhost_user, vdpa };

  Model model = Model::virtio;        // net.model: what the guest sees; "e1000e" for one without virtio drivers
  Mode mode = Mode::user;             // net.mode; default: what the other keys say, else "user"
  std::string bridge = {};            // net.bridge: the tap vmrun makes joins it; only with mode tap
  std::string tap = {};               // net.tap: an existing tap to use; "": vmrun makes one for the VM's life
  std::string over = {};              // net.over: the interface a macvtap is made on
  std::string macvtap = "bridge";     // net.macvtap: "bridge" | "private" | "vepa" | "passthru"
  std::string socket = {};            // net.socket: where the vhost-user process listens
  bool server = false;                // net.server: QEMU listens, in the VM's directory, and that process connects
  std::string device = {};            // net.device: "/dev/vhost-vdpa-0"
  std::vector<Forward> forward = {};  // net.forward; modes user and passt
  bool host_loopback = false;         // net.host_loopback: user, passt: what listens on the host's 127.0.0.1 is reached
  std::optional<bool> vhost = {};     // net.vhost; auto: on for a tap where /dev/vhost-net is
  std::optional<unsigned> queues = {};  // net.queues; auto: one per vCPU, at most 8, for a tap; else 1
  std::optional<bool> packed = {};      // net.packed; auto: on without vhost (kernel vhost has no packed ring)
  std::string mac = {};                 // net.mac: "52:54:00:12:34:56"; "": derived from VM name and index
  std::optional<unsigned> vlan = {};    // net.vlan, 1..4094: the bridge's port is in this one only
  std::optional<unsigned> mtu = {};     // net.mtu, 68..65535; auto: what the bridge or interface has
  std::optional<unsigned> rx_queue_size = {}, tx_queue_size = {};  // net.[rt]x_queue_size: 256, 512, 1024; auto: 256
  std::optional<unsigned> poll_us = {};        // net.poll_us: a vhost worker looks so long before it sleeps; 0: not
  std::optional<topology::Bytes> sndbuf = {};  // net.sndbuf: of the tap; auto: without a limit
  std::optional<unsigned> guest_bus;  // net.guest_bus: behind a root port, 1 to 8; auto: on the board's first bus
  bool rss = false, hash = false;     // net.rss, net.hash: receive steering, and its hash told to the guest
  std::uint64_t receive_limit = 0, send_limit = 0;  // net.[..]_limit: "1Gbit", in bits a second; 0: none

  struct Facts {
    std::optional<unsigned> node;  // of the bridge's first port that has one, or of the interface below a macvtap
    bool bridge_exists = false, tap_exists = false, tap_multi_queue = false, vhost_available = false;
    bool bridge_filters = false;  // by VLAN
    std::string bridge_is;        // what has the bridge's name and is none: "a bond"; "": nothing
    bool over_exists = false, over_is_port = false;
    std::string socket_misfit = {}, device_misfit = {};            // why they cannot be used; "" if they can
    std::vector<std::string> path_ids = {};                        // of the one that is given, see identities()
    bool socket_open_to_all = false, socket_found_by_all = false;  // by all users, in its directory
    unsigned socket_uid = 0;
    std::vector<std::string> port_holders = {};  // beside Nic::forward: who has the port; "" if nobody
    unsigned link_mtu = 0;                       // the bridge's, or that of `over`
    unsigned first_free_port = 1024;             // below it a port needs rights
    std::string passt;                           // its path; "": there is none
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "net", .first_slot = slots::nics};
  static Nic read(TableReader& table);
  bool is_tap() const { return mode == Mode::tap || mode == Mode::macvtap; }  // packets pass a tap's queues
  friend bool operator==(const Nic&, const Nic&) = default;
};

// The key `mac`, in lower case, so that equal addresses are equal strings; "" if it is absent, or none (with a problem).
std::string read_mac(TableReader& table);

Nic::Facts look_at(const Nic& nic, const HostConfig& config);
Nic::Facts assumed(const Nic& nic);
DeviceNeeds needs(const Nic& nic, const Nic::Facts& facts, unsigned vcpus);
void plan_device(const Nic& nic, const Nic::Facts& facts, DeviceContext& context);

// What the plan decides of a card before its two halves, the host's and the guest's, are written.
struct NicChoice {
  bool vhost = false, packed = false;
  unsigned queues = 1;
  std::optional<unsigned> mtu;
  std::string mac;
};
// nic_check.cpp: what this host or this QEMU cannot do.
void check(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, const DeviceContext& context);
// nic_host.cpp: steps, and the -netdev that takes their fds.
void add_host_side(const Nic& nic, const Nic::Facts& facts, const NicChoice& choice, DeviceContext& context);

}  // namespace launcher::devices
