// A vDPA network card in user space (VDUSE), for kernels without vdpa_sim: as much of one as makes a guest's driver bring its
// link up. It takes no packet off a ring, and puts none on.
//   vduse_net NAME     makes /dev/vduse/NAME, says `ready`, and answers the kernel until it is ended; says each status
#include <errno.h>
#include <fcntl.h>
#include <linux/vduse.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void need(int ok, const char *what) {
    if (ok) return;
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    int control = open("/dev/vduse/control", O_RDWR);
    need(control >= 0, "/dev/vduse/control");
    __u64 version = VDUSE_API_VERSION;
    need(ioctl(control, VDUSE_SET_API_VERSION, &version) == 0, "VDUSE_SET_API_VERSION");

    struct virtio_net_config card = {.mac = {0x52, 0x54, 0, 0x0a, 0x0b, 0x0e}, .status = VIRTIO_NET_S_LINK_UP};
    struct vduse_dev_config *config = calloc(1, sizeof *config + sizeof card);
    need(config != NULL, "memory");
    snprintf(config->name, sizeof config->name, "%s", argv[1]);
    config->device_id = VIRTIO_ID_NET;
    config->features = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM | 1ULL << VIRTIO_NET_F_MAC |
                       1ULL << VIRTIO_NET_F_STATUS;
    config->vq_num = 2;
    config->vq_align = 4096;
    config->config_size = sizeof card;
    memcpy(config->config, &card, sizeof card);
    need(ioctl(control, VDUSE_CREATE_DEV, config) == 0, "VDUSE_CREATE_DEV");

    char path[64];
    snprintf(path, sizeof path, "/dev/vduse/%s", argv[1]);
    int device = open(path, O_RDWR);
    need(device >= 0, path);
    for (unsigned queue = 0; queue < 2; ++queue) {
        struct vduse_vq_config ring = {.index = queue, .max_size = 1024};
        need(ioctl(device, VDUSE_VQ_SETUP, &ring) == 0, "VDUSE_VQ_SETUP");
    }
    puts("ready");
    fflush(stdout);

    struct vduse_dev_request request;
    while (read(device, &request, sizeof request) == sizeof request) {
        struct vduse_dev_response response = {.request_id = request.request_id, .result = VDUSE_REQ_RESULT_OK};
        if (request.type == VDUSE_GET_VQ_STATE)
            response.vq_state.index = request.vq_state.index;
        else if (request.type == VDUSE_SET_STATUS)
            printf("status %u\n", request.s.status);
        fflush(stdout);
        need(write(device, &response, sizeof response) == sizeof response, "answer the kernel");
    }
    need(0, "read");
}
