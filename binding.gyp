{
  "targets": [
    {
      "target_name": "waypost",
      "conditions": [
        ["OS=='linux'", {
          "sources": [
            "server/net/native/addon.c",
            "server/net/native/batch.c",
            "server/net/native/event.c",
            "server/net/native/socket.c",
            "server/net/native/values.c",
            "server/net/native/watch.c"
          ],
          "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
          "cflags": [
            "-std=gnu11", "-O2", "-Wall", "-Wextra",
            "-fvisibility=hidden", "-fstack-protector-strong", "-fno-strict-aliasing"
          ]
        }, {
          "type": "none"
        }]
      ]
    }
  ]
}
