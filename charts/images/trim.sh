#!/bin/sh
# Leaves of a Debian base what running Python takes: no package managers, no pip, no manuals, no setuid programs. The list
# of installed packages stays, for scanners, and so do their licences.
set -eu
rm -rf /trim.sh /usr/share/python-wheels /usr/lib/python3*/ensurepip /usr/local/lib/python3*/ensurepip \
  /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* /usr/local/bin/idle* \
  /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /usr/share/bash-completion \
  /var/cache/* /var/lib/apt /var/log/* /etc/apt /usr/lib/apt /usr/bin/apt* /usr/sbin/adduser ~/.cache
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -type d -empty -delete
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
echo 'nonroot:x:65532:65532:Stepstream:/tmp:/sbin/nologin' >> /etc/passwd
echo 'nonroot:x:65532:' >> /etc/group
