//! The fixed world, and what is asked in it. It has no answers: those are on the page.

/// What was done to make the world, in order.
pub(super) const WORLD: &str = "
    network rule  acme/eu-1/Network  vpc-1    192.168.0.0/16
    network rule  acme/eu-1/Office   public   203.0.113.0/24 2001:db8:7::/48
    network rule  acme/eu-1/Gateway  public   203.0.113.7
    network rule  acme/eu-1/Inside   private  10.0.0.0/8
    network rule  acme/eu-1/Cluster  vpc-2    10.1.2.3/16 ::ffff:172.16.0.0/108

    policy  acme/eu-1/RAMPolicy  shared  SECRET_USER  secret/dataKey****  Network
    policy  acme/eu-1/Reports    shared  SECRET_USER  secret/reports/* secret/dataKey1  Gateway Office
    policy  acme/eu-1/Config     shared  SECRET_USER  secret/config  any network
    policy  acme/eu-1/AllKeys    kst-1   CRYPTO_SERVICE_KEY_USER  key/*  any network
    policy  acme/eu-1/Signing    kst-1   CRYPTO_SERVICE_KEY_USER  key/sign-1 key/data-*  Inside Cluster
    policy  acme/eu-1/Vault      kst-1   CRYPTO_SERVICE_SECRET_USER CRYPTO_SERVICE_KEY_USER  secret/vault/*  Inside
    policy  acme/eu-1/Archive    kst-2   SECRET_USER  secret/*  any network

    role  acme/ECSRole      ecs.aliyuncs.com
    role  acme/FCRole       fc.aliyuncs.com
    role  acme/OldRole      ecs.aliyuncs.com
    role  acme/WorkerRole   ecs.aliyuncs.com fc.aliyuncs.com
    role  acme/GuardedRole  ecs.aliyuncs.com

    access point  acme/eu-1/app        ECS_INSTANCE ECSRole       RAMPolicy
    access point  acme/eu-1/function   FUNCTION_COMPUTE FCRole    RAMPolicy
    access point  acme/eu-1/node       ACK_WORKER WorkerRole      RAMPolicy
    access point  acme/eu-1/job        FUNCTION_COMPUTE WorkerRole  RAMPolicy
    access point  acme/eu-1/old        ECS_INSTANCE OldRole       RAMPolicy
    access point  acme/eu-1/guarded    ECS_INSTANCE GuardedRole   RAMPolicy
    access point  acme/eu-1/old-2      ECS_INSTANCE OldRole       RAMPolicy
    suspend       acme/eu-1/old-2
    role again    acme/OldRole      nobody
    role again    acme/WorkerRole   ecs.aliyuncs.com
    role again    acme/GuardedRole  ecs.aliyuncs.com, with a condition
    access point  acme/eu-1/reports    client key  RAMPolicy Reports Config
    access point  acme/eu-1/reports-2  client key  Config Reports RAMPolicy
    access point  acme/eu-1/keys       client key  AllKeys
    access point  acme/eu-1/signer     client key  Signing Vault
    access point  acme/eu-1/vault      client key  Vault
    access point  acme/eu-1/archive    client key  Archive
    access point  acme/eu-1/paused     client key  RAMPolicy
    access point  acme/eu-1/retired    client key  RAMPolicy
    suspend       acme/eu-1/paused
    delete        acme/eu-1/retired

    policy        other/eu-1/RAMPolicy  shared  SECRET_USER  secret/*  any network
    access point  other/eu-1/app        client key  RAMPolicy
";

/// Questions about one account and region.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// The account and region whose resources are asked for.
    pub(super) location: &'static str,
    /// Access point, action, resource (`-` for none), instance, origin. `k{193}` is 193 times `k`.
    pub(super) questions: &'static str,
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "An application on an instance with the role ECSRole reads its secrets from one VPC",
        location: "acme/eu-1",
        questions: "
    app  GetSecretValue  secret/dataKey1     shared  vpc-1 192.168.7.9
    app  GetSecretValue  secret/dataKey      shared  vpc-1 192.168.7.9
    app  GetSecretValue  secret/dataKey/a/b  shared  vpc-1 192.168.7.9
    app  GetSecretValue  secret/dataKe       shared  vpc-1 192.168.7.9
    app  GetSecretValue  secret/DataKey1     shared  vpc-1 192.168.7.9
    app  GetSecretValue  secret/other        shared  vpc-1 192.168.7.9
    app  GetSecretValue  key/dataKey1        shared  vpc-1 192.168.7.9
    app  Decrypt         key/dataKey1        shared  vpc-1 192.168.7.9
    app  PutSecretValue  secret/dataKey1     shared  vpc-1 192.168.7.9
    app  GetSecretValue  secret/dataKey1     kst-1   vpc-1 192.168.7.9
    app  GetSecretValue  secret/dataKey1     Shared  vpc-1 192.168.7.9
",
    },
    Section {
        title: "Where its call may come from",
        location: "acme/eu-1",
        questions: "
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.0.0
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.255.255
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 ::ffff:192.168.7.9
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.167.255.255
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.169.0.0
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 ::ffff:192.169.0.0
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 2001:db8:7::1
    app  GetSecretValue  secret/dataKey1  shared  vpc-1 unknown
    app  GetSecretValue  secret/dataKey1  shared  vpc-2 192.168.7.9
    app  GetSecretValue  secret/dataKey1  shared  public 192.168.7.9
    app  GetSecretValue  secret/dataKey1  shared  private 192.168.7.9
    app  GetSecretValue  secret/dataKey1  shared  unknown 192.168.7.9
    app  GetSecretValue  secret/dataKey1  shared  unknown unknown
",
    },
    Section {
        title: "Who is denied before any policy is read",
        location: "acme/eu-1",
        questions: "
    nobody          GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    App             GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    retired         GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    paused          GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    paused          Decrypt         key/unknown      kst-9   unknown unknown
    other/eu-1/app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    acme/eu-2/app   GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
",
    },
    Section {
        title: "Whose role is trusted now: what it was when the access point was created doesn't count",
        location: "acme/eu-1",
        questions: "
    function  GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    node      GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    job       GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    job       Decrypt         key/unknown      kst-9   unknown unknown
    old       GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    old-2     GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    guarded   GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
",
    },
    Section {
        title: "Another account, in which the same names mean something else",
        location: "other/eu-1",
        questions: "
    app            GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    app            GetSecretValue  secret/other     shared  unknown unknown
    acme/eu-1/app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    reports        GetSecretValue  secret/config    shared  public 198.51.100.1
",
    },
    Section {
        title: "Another region, in which there is nothing",
        location: "acme/eu-2",
        questions: "
    app            GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
    acme/eu-1/app  GetSecretValue  secret/dataKey1  shared  vpc-1 192.168.7.9
",
    },
    Section {
        title: "Several policies: one must grant alone, the first that does is named",
        location: "acme/eu-1",
        questions: "
    reports    GetSecretValue  secret/dataKey1      shared  vpc-1 192.168.7.9
    reports    GetSecretValue  secret/dataKey1      shared  public 203.0.113.7
    reports    GetSecretValue  secret/dataKey1      shared  public 203.0.113.8
    reports    GetSecretValue  secret/dataKey1      shared  public 192.168.7.9
    reports    GetSecretValue  secret/dataKey2      shared  public 203.0.113.8
    reports    GetSecretValue  secret/reports/2026  shared  public 2001:db8:7::1
    reports    GetSecretValue  secret/reports/2026  shared  vpc-1 192.168.7.9
    reports    GetSecretValue  secret/reports       shared  public 203.0.113.7
    reports    GetSecretValue  secret/config        shared  unknown unknown
    reports    GetSecretValue  secret/config        kst-1   unknown unknown
    reports-2  GetSecretValue  secret/dataKey1      shared  vpc-1 192.168.7.9
    reports-2  GetSecretValue  secret/dataKey1      shared  public 203.0.113.7
    reports-2  GetSecretValue  secret/dataKey1      shared  public 198.51.100.1
    reports-2  GetSecretValue  secret/other         shared  public 198.51.100.1
    reports-2  Decrypt         secret/config        shared  public 198.51.100.1
    reports-2  GetSecretValue  secret/config        kst-1   public 198.51.100.1
",
    },
    Section {
        title: "A dedicated instance: signing keys and a vault of secrets",
        location: "acme/eu-1",
        questions: "
    signer   Sign             key/sign-1       kst-1   private 10.9.9.9
    signer   Sign             key/sign-1       kst-1   vpc-2 10.1.255.255
    signer   Sign             key/sign-1       kst-1   vpc-2 172.31.0.1
    signer   Sign             key/sign-1       kst-1   vpc-2 10.2.0.0
    signer   Sign             key/sign-1       kst-1   public 10.9.9.9
    signer   Sign             key/sign-10      kst-1   private 10.9.9.9
    signer   Sign             key/sign-1       kst-10  private 10.9.9.9
    signer   Sign             key/sign-1       shared  private 10.9.9.9
    signer   GenerateDataKey  key/data-        kst-1   private 10.9.9.9
    signer   GenerateDataKey  key/data-7       kst-1   private 10.9.9.9
    signer   GetSecretValue   secret/vault/db  kst-1   private 10.9.9.9
    signer   GetSecretValue   secret/vault/db  kst-1   vpc-2 10.1.0.1
    signer   GetSecretValue   key/sign-1       kst-1   private 10.9.9.9
    signer   Sign             secret/vault/db  kst-1   private 10.9.9.9
    signer   GenerateRandom   -                kst-1   private 10.9.9.9
    signer   GenerateRandom   -                kst-1   vpc-2 10.1.0.1
    signer   GenerateRandom   -                kst-1   unknown 10.9.9.9
    signer   GenerateRandom   key/sign-1       kst-1   private 10.9.9.9
    vault    GetSecretValue   secret/vault/db  kst-1   private 10.9.9.9
    vault    GenerateRandom   -                kst-1   private 10.9.9.9
    archive  GetSecretValue   secret/2019      kst-2   unknown unknown
    archive  GetSecretValue   secret/2019      shared  unknown unknown
    archive  GenerateRandom   -                kst-2   unknown unknown
",
    },
    Section {
        title: "What a key user may do to a key",
        location: "acme/eu-1",
        questions: "
    keys  Encrypt                                     key/k-1  kst-1  public 198.51.100.1
    keys  Decrypt                                     key/k-1  kst-1  public 198.51.100.1
    keys  Sign                                        key/k-1  kst-1  public 198.51.100.1
    keys  Verify                                      key/k-1  kst-1  public 198.51.100.1
    keys  GenerateDataKey                             key/k-1  kst-1  public 198.51.100.1
    keys  GenerateDataKeyPair                         key/k-1  kst-1  public 198.51.100.1
    keys  GenerateDataKeyPairWithoutPlaintext         key/k-1  kst-1  public 198.51.100.1
    keys  GetPublicKey                                key/k-1  kst-1  public 198.51.100.1
    keys  AdvanceEncrypt                              key/k-1  kst-1  public 198.51.100.1
    keys  AdvanceDecrypt                              key/k-1  kst-1  public 198.51.100.1
    keys  AdvanceGenerateDataKey                      key/k-1  kst-1  public 198.51.100.1
    keys  AdvanceGenerateDataKeyPair                  key/k-1  kst-1  public 198.51.100.1
    keys  AdvanceGenerateDataKeyPairWithoutPlaintext  key/k-1  kst-1  public 198.51.100.1
    keys  GenerateRandom                              -        kst-1  public 198.51.100.1
    keys  Encrypt                                     -        kst-1  public 198.51.100.1
    keys  encrypt                                     key/k-1  kst-1  public 198.51.100.1
    keys  ReEncrypt                                   key/k-1  kst-1  public 198.51.100.1
    keys  ScheduleKeyDeletion                         key/k-1  kst-1  public 198.51.100.1
",
    },
    Section {
        title: "What secret/* covers, and what it never does",
        location: "acme/eu-1",
        questions: "
    archive  GetSecretValue  secret/k{192}     kst-2  unknown unknown
    archive  GetSecretValue  secret/k{193}     kst-2  unknown unknown
    archive  GetSecretValue  secret/           kst-2  unknown unknown
    archive  GetSecretValue  secret/*          kst-2  unknown unknown
    archive  GetSecretValue  secret/20*        kst-2  unknown unknown
    archive  GetSecretValue  secret/a b        kst-2  unknown unknown
    archive  GetSecretValue  secret/ä          kst-2  unknown unknown
    archive  GetSecretValue  secret/%2a        kst-2  unknown unknown
    archive  GetSecretValue  -                 kst-2  unknown unknown
    archive  GetSecretValue  secret            kst-2  unknown unknown
    archive  GetSecretValue  Secret/a          kst-2  unknown unknown
    archive  GetSecretValue  alias/a           kst-2  unknown unknown
    archive  GetSecretValue  acme/secret/a     kst-2  unknown unknown
",
    },
];
