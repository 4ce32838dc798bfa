//! The shapes of generated objects.

use api::world::{DEPLOYMENT, ENDPOINTS, INGRESS, Kind, REVISION, SERVERLESS_SERVICE, SERVICE};
use expect_test::{Expect, expect};
use serde_json::Value;

use super::cluster::Cluster;

/// The object as YAML, without what a server adds.
fn check(kind: Kind, name: &str, expected: &Expect) {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    let mut object = cluster.get(kind, name);
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    expected.assert_eq(&yaml(&object));
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

#[test]
fn revision() {
    check(
        REVISION,
        "hello-00001",
        &expect![[r#"
        apiVersion: serving.knative.dev/v1
        kind: Revision
        metadata:
          annotations:
            serving.knative.dev/creator: kubernetes-admin
            serving.knative.dev/routes: hello
            serving.knative.dev/routingStateModified: "2026-01-01T00:00:00Z"
          labels:
            serving.knative.dev/configuration: hello
            serving.knative.dev/configurationGeneration: "1"
            serving.knative.dev/configurationUID: hello-2
            serving.knative.dev/routingState: active
            serving.knative.dev/service: hello
            serving.knative.dev/serviceUID: hello-1
          name: hello-00001
          namespace: default
          ownerReferences:
          - apiVersion: serving.knative.dev/v1
            blockOwnerDeletion: true
            controller: true
            kind: Configuration
            name: hello
            uid: hello-2
        spec:
          containerConcurrency: 0
          containers:
          - image: example/hello
            name: user-container
            readinessProbe:
              successThreshold: 1
              tcpSocket:
                port: 0
            resources: {}
          enableServiceLinks: false
          timeoutSeconds: 300
    "#]],
    );
}

#[test]
fn deployment() {
    check(
        DEPLOYMENT,
        "hello-00001-deployment",
        &expect![[r#"
            apiVersion: apps/v1
            kind: Deployment
            metadata:
              annotations:
                serving.knative.dev/creator: kubernetes-admin
              labels:
                app: hello-00001
                serving.knative.dev/configuration: hello
                serving.knative.dev/configurationGeneration: "1"
                serving.knative.dev/configurationUID: hello-2
                serving.knative.dev/revision: hello-00001
                serving.knative.dev/revisionUID: hello-00001-5
                serving.knative.dev/service: hello
                serving.knative.dev/serviceUID: hello-1
              name: hello-00001-deployment
              namespace: default
              ownerReferences:
              - apiVersion: serving.knative.dev/v1
                blockOwnerDeletion: true
                controller: true
                kind: Revision
                name: hello-00001
                uid: hello-00001-5
            spec:
              progressDeadlineSeconds: 600
              replicas: 1
              revisionHistoryLimit: 0
              selector:
                matchLabels:
                  serving.knative.dev/revisionUID: hello-00001-5
              strategy:
                rollingUpdate:
                  maxUnavailable: 0
                type: RollingUpdate
              template:
                metadata:
                  annotations:
                    serving.knative.dev/creator: kubernetes-admin
                  labels:
                    app: hello-00001
                    serving.knative.dev/configuration: hello
                    serving.knative.dev/configurationGeneration: "1"
                    serving.knative.dev/configurationUID: hello-2
                    serving.knative.dev/revision: hello-00001
                    serving.knative.dev/revisionUID: hello-00001-5
                    serving.knative.dev/service: hello
                    serving.knative.dev/serviceUID: hello-1
                spec:
                  affinity:
                    podAntiAffinity:
                      preferredDuringSchedulingIgnoredDuringExecution:
                      - podAffinityTerm:
                          labelSelector:
                            matchLabels:
                              serving.knative.dev/revision: hello-00001
                          topologyKey: kubernetes.io/hostname
                        weight: 100
                  containers:
                  - env:
                    - name: K_REVISION
                      value: hello-00001
                    - name: K_CONFIGURATION
                      value: hello
                    - name: K_SERVICE
                      value: hello
                    - name: PORT
                      value: "8080"
                    image: example/hello@sha256:1234
                    lifecycle:
                      preStop:
                        httpGet:
                          path: /wait-for-drain
                          port: 8022
                    name: user-container
                    ports:
                    - containerPort: 8080
                      name: user-port
                    resources: {}
                    terminationMessagePolicy: FallbackToLogsOnError
                  - env:
                    - name: SERVING_NAMESPACE
                      value: default
                    - name: SERVING_SERVICE
                      value: hello
                    - name: SERVING_CONFIGURATION
                      value: hello
                    - name: SERVING_REVISION
                      value: hello-00001
                    - name: QUEUE_SERVING_PORT
                      value: "8012"
                    - name: QUEUE_SERVING_TLS_PORT
                      value: "8112"
                    - name: USER_PORT
                      value: "8080"
                    - name: CONTAINER_CONCURRENCY
                      value: "0"
                    - name: REVISION_TIMEOUT_SECONDS
                      value: "300"
                    - name: REVISION_RESPONSE_START_TIMEOUT_SECONDS
                      value: "0"
                    - name: REVISION_IDLE_TIMEOUT_SECONDS
                      value: "0"
                    - name: ENABLE_HTTP_FULL_DUPLEX
                      value: "false"
                    - name: SYSTEM_NAMESPACE
                      value: knative-serving
                    - name: SERVING_LOGGING_CONFIG
                      value: ""
                    - name: SERVING_LOGGING_LEVEL
                      value: ""
                    - name: SERVING_REQUEST_LOG_TEMPLATE
                      value: "{\"httpRequest\": {\"requestMethod\": \"{{.Request.Method}}\", \"requestUrl\": \"{{js .Request.RequestURI}}\", \"requestSize\": \"{{.Request.ContentLength}}\", \"status\": {{.Response.Code}}, \"responseSize\": \"{{.Response.Size}}\", \"userAgent\": \"{{js .Request.UserAgent}}\", \"remoteIp\": \"{{js .Request.RemoteAddr}}\", \"serverIp\": \"{{.Revision.PodIP}}\", \"referer\": \"{{js .Request.Referer}}\", \"latency\": \"{{.Response.Latency}}s\", \"protocol\": \"{{.Request.Proto}}\"}, \"traceId\": \"{{.TraceID}}\"}"
                    - name: SERVING_ENABLE_REQUEST_LOG
                      value: "false"
                    - name: SERVING_ENABLE_PROBE_REQUEST_LOG
                      value: "false"
                    - name: SERVING_READINESS_PROBE
                      value: "{\"successThreshold\":1,\"tcpSocket\":{\"host\":\"127.0.0.1\",\"port\":8080}}"
                    - name: ENABLE_MULTI_CONTAINER_PROBES
                      value: "false"
                    - name: ENABLE_HTTP2_AUTO_DETECTION
                      value: "false"
                    - name: ROOT_CA
                      value: ""
                    - name: SERVING_POD
                      valueFrom:
                        fieldRef:
                          fieldPath: metadata.name
                    - name: SERVING_POD_IP
                      valueFrom:
                        fieldRef:
                          fieldPath: status.podIP
                    - name: HOST_IP
                      valueFrom:
                        fieldRef:
                          fieldPath: status.hostIP
                    image: rekindle.local/queue-proxy
                    name: queue-proxy
                    ports:
                    - containerPort: 8022
                      name: http-queueadm
                    - containerPort: 9090
                      name: http-autometric
                    - containerPort: 9091
                      name: http-usermetric
                    - containerPort: 8012
                      name: queue-port
                    - containerPort: 8112
                      name: https-port
                    readinessProbe:
                      httpGet:
                        httpHeaders:
                        - name: K-Network-Probe
                          value: queue
                        port: 8012
                      successThreshold: 1
                    resources:
                      requests:
                        cpu: 25m
                    securityContext:
                      allowPrivilegeEscalation: false
                      capabilities:
                        drop:
                        - ALL
                      readOnlyRootFilesystem: true
                      runAsNonRoot: true
                      seccompProfile:
                        type: RuntimeDefault
                  enableServiceLinks: false
                  terminationGracePeriodSeconds: 300
        "#]],
    );
}

#[test]
fn ingress() {
    check(
        INGRESS,
        "hello",
        &expect![[r#"
            apiVersion: networking.internal.knative.dev/v1alpha1
            kind: Ingress
            metadata:
              annotations:
                networking.internal.knative.dev/rollout: "{\"configurations\":[{\"configurationName\":\"hello\",\"percent\":100,\"revisions\":[{\"revisionName\":\"hello-00001\",\"percent\":100}],\"stepParams\":{}}]}"
                networking.knative.dev/ingress-class: rekindle.ingress.networking.knative.dev
                serving.knative.dev/creator: kubernetes-admin
                serving.knative.dev/lastModifier: kubernetes-admin
              labels:
                serving.knative.dev/route: hello
                serving.knative.dev/routeNamespace: default
                serving.knative.dev/service: hello
              name: hello
              namespace: default
              ownerReferences:
              - apiVersion: serving.knative.dev/v1
                blockOwnerDeletion: true
                controller: true
                kind: Route
                name: hello
                uid: hello-3
            spec:
              httpOption: Enabled
              rules:
              - hosts:
                - hello.default
                - hello.default.svc
                - hello.default.svc.cluster.local
                http:
                  paths:
                  - splits:
                    - appendHeaders:
                        Knative-Serving-Namespace: default
                        Knative-Serving-Revision: hello-00001
                      percent: 100
                      serviceName: hello-00001
                      serviceNamespace: default
                      servicePort: 80
                visibility: ClusterLocal
              - hosts:
                - hello.default.localhost
                http:
                  paths:
                  - splits:
                    - appendHeaders:
                        Knative-Serving-Namespace: default
                        Knative-Serving-Revision: hello-00001
                      percent: 100
                      serviceName: hello-00001
                      serviceNamespace: default
                      servicePort: 80
                visibility: ExternalIP
        "#]],
    );
}

#[test]
fn serverless_service() {
    check(
        SERVERLESS_SERVICE,
        "hello-00001",
        &expect![[r#"
        apiVersion: networking.internal.knative.dev/v1alpha1
        kind: ServerlessService
        metadata:
          annotations:
            serving.knative.dev/creator: kubernetes-admin
          labels:
            app: hello-00001
            serving.knative.dev/configuration: hello
            serving.knative.dev/configurationGeneration: "1"
            serving.knative.dev/configurationUID: hello-2
            serving.knative.dev/revision: hello-00001
            serving.knative.dev/revisionUID: hello-00001-5
            serving.knative.dev/service: hello
            serving.knative.dev/serviceUID: hello-1
          name: hello-00001
          namespace: default
          ownerReferences:
          - apiVersion: autoscaling.internal.knative.dev/v1alpha1
            blockOwnerDeletion: true
            controller: true
            kind: PodAutoscaler
            name: hello-00001
            uid: hello-00001-12
        spec:
          mode: Proxy
          numActivators: 4
          objectRef:
            apiVersion: apps/v1
            kind: Deployment
            name: hello-00001-deployment
          protocolType: http1
    "#]],
    );
    check(
        SERVICE,
        "hello-00001",
        &expect![[r#"
            apiVersion: v1
            kind: Service
            metadata:
              annotations:
                serving.knative.dev/creator: kubernetes-admin
              labels:
                app: hello-00001
                networking.internal.knative.dev/serverlessservice: hello-00001
                networking.internal.knative.dev/serviceType: Public
                serving.knative.dev/configuration: hello
                serving.knative.dev/configurationGeneration: "1"
                serving.knative.dev/configurationUID: hello-2
                serving.knative.dev/revision: hello-00001
                serving.knative.dev/revisionUID: hello-00001-5
                serving.knative.dev/service: hello
                serving.knative.dev/serviceUID: hello-1
              name: hello-00001
              namespace: default
              ownerReferences:
              - apiVersion: networking.internal.knative.dev/v1alpha1
                blockOwnerDeletion: true
                controller: true
                kind: ServerlessService
                name: hello-00001
                uid: hello-00001-14
            spec:
              ports:
              - name: http
                port: 80
                protocol: TCP
                targetPort: 8012
              - name: https
                port: 443
                protocol: TCP
                targetPort: 8112
        "#]],
    );
    check(
        SERVICE,
        "hello-00001-private",
        &expect![[r#"
        apiVersion: v1
        kind: Service
        metadata:
          annotations:
            serving.knative.dev/creator: kubernetes-admin
          labels:
            app: hello-00001
            networking.internal.knative.dev/serverlessservice: hello-00001
            networking.internal.knative.dev/serviceType: Private
            serving.knative.dev/configuration: hello
            serving.knative.dev/configurationGeneration: "1"
            serving.knative.dev/configurationUID: hello-2
            serving.knative.dev/revision: hello-00001
            serving.knative.dev/revisionUID: hello-00001-5
            serving.knative.dev/service: hello
            serving.knative.dev/serviceUID: hello-1
          name: hello-00001-private
          namespace: default
          ownerReferences:
          - apiVersion: networking.internal.knative.dev/v1alpha1
            blockOwnerDeletion: true
            controller: true
            kind: ServerlessService
            name: hello-00001
            uid: hello-00001-14
        spec:
          ports:
          - name: http
            port: 80
            protocol: TCP
            targetPort: 8012
          - name: https
            port: 443
            protocol: TCP
            targetPort: 8112
          - name: http-autometric
            port: 9090
            protocol: TCP
            targetPort: 9090
          - name: http-usermetric
            port: 9091
            protocol: TCP
            targetPort: 9091
          - name: http-queueadm
            port: 8022
            protocol: TCP
            targetPort: 8022
          - name: http-istio
            port: 8012
            protocol: TCP
            targetPort: 8012
          selector:
            serving.knative.dev/revisionUID: hello-00001-5
    "#]],
    );
    check(
        ENDPOINTS,
        "hello-00001",
        &expect![[r#"
        apiVersion: v1
        kind: Endpoints
        metadata:
          annotations:
            serving.knative.dev/creator: kubernetes-admin
          labels:
            app: hello-00001
            endpointslice.kubernetes.io/skip-mirror: "true"
            networking.internal.knative.dev/serverlessservice: hello-00001
            networking.internal.knative.dev/serviceType: Public
            serving.knative.dev/configuration: hello
            serving.knative.dev/configurationGeneration: "1"
            serving.knative.dev/configurationUID: hello-2
            serving.knative.dev/revision: hello-00001
            serving.knative.dev/revisionUID: hello-00001-5
            serving.knative.dev/service: hello
            serving.knative.dev/serviceUID: hello-1
          name: hello-00001
          namespace: default
          ownerReferences:
          - apiVersion: networking.internal.knative.dev/v1alpha1
            blockOwnerDeletion: true
            controller: true
            kind: ServerlessService
            name: hello-00001
            uid: hello-00001-14
        subsets:
        - addresses:
          - ip: "10.42.0.1"
          ports:
          - name: http
            port: 8012
            protocol: TCP
          - name: https
            port: 8112
            protocol: TCP
    "#]],
    );
}

#[test]
fn placeholder() {
    check(
        SERVICE,
        "hello",
        &expect![[r#"
        apiVersion: v1
        kind: Service
        metadata:
          annotations:
            serving.knative.dev/creator: kubernetes-admin
            serving.knative.dev/lastModifier: kubernetes-admin
          labels:
            serving.knative.dev/route: hello
            serving.knative.dev/service: hello
          name: hello
          namespace: default
          ownerReferences:
          - apiVersion: serving.knative.dev/v1
            blockOwnerDeletion: true
            controller: true
            kind: Route
            name: hello
            uid: hello-3
        spec:
          externalName: knative-local-gateway.istio-system.svc.cluster.local
          ports:
          - name: http2
            port: 80
            protocol: TCP
            targetPort: 80
          sessionAffinity: None
          type: ExternalName
    "#]],
    );
}
